/* Names the types whose layout is measured; compiled for its debug information only, never run. */

#include "php.h"
#include "SAPI.h"
#include "zend_extensions.h"
#include "zend_generators.h"
#include "ext/standard/basic_functions.h"
#if __has_include("zend_fibers.h") /* since 8.1 */
#include "zend_fibers.h"
#endif

/* Not in any public header. Its parts are, and their order has been the same from 7.0 to 8.6. */
struct _zend_closure {
	zend_object std;
	zend_function func;
	zval this_ptr;
	zend_class_entry *called_scope;
	void *orig_internal_handler;
};
