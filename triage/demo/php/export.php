<?php
// A generator reads orders; while it runs, the process is told to stop with signal 11.

namespace Shop;

function orders(int $count): \Generator
{
    for ($id = 1; $id <= $count; $id++) {
        if ($id === 7) {
            posix_kill(posix_getpid(), 11);
        }
        yield $id => "order {$id}";
    }
}

function export(iterable $orders): void
{
    foreach ($orders as $order) {
        strlen($order);
    }
}

export(orders(10));
