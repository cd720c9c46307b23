<?php
// A fiber runs C code that finds its data damaged and ends the program with abort().

namespace Shop;

function sign(int $invoice): void
{
    $c = \FFI::cdef('void abort(void);');
    $c->abort();
}

$fiber = new \Fiber(function (int $invoice): void {
    sign($invoice);
});
$fiber->start(4711);
