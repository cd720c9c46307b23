/* Ways into faults.c: wrap WAY NAME. The same mistake, reached through other code. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#define APART __attribute__((noinline, noclone))
int faults_main(int, char **);
static char **arguments;
static volatile int done;

APART static int job_run(void) { int status = faults_main(2, arguments); done++; return status; }
APART static int job_next(int left) { int status = left ? job_next(left - 1) : job_run(); done++; return status; }
APART static int worker_loop(void) { int status = job_next(3); done++; return status; }
APART static int request_parse(char *text) { int status = text[0] ? job_run() : 1; done++; return status; }
APART static int request_handle(void) { char text[40]; strcpy(text, "GET /"); int s = request_parse(text); done++; return s; }
static int by_name(const void *one, const void *other) { (void)one; (void)other; job_run(); done++; return 0; }
APART static int table_sort(void) { int table[4] = {3, 1, 2, 0}; qsort(table, 4, sizeof *table, by_name); done++; return table[0]; }
static void *pool_thread(void *unused) { worker_loop(); done++; return unused; }

int main(int count, char **argv)
{
    if (count < 3)
        return 2;
    char *own[3] = {argv[0], argv[2], NULL};
    arguments = own;
    pthread_t thread;
    switch (atoi(argv[1])) {
    case 0: return faults_main(2, own);
    case 1: return worker_loop();
    case 2: return request_handle();
    case 3: return table_sort();
    default:
        pthread_create(&thread, NULL, pool_thread, NULL);
        pthread_join(thread, NULL);
        return 0;
    }
}
