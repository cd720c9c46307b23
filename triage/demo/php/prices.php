<?php
// A hot loop, compiled by opcache's JIT, writes to memory that is not there.

namespace Shop;

function total(int $rounds): int
{
    $sum = 0;
    for ($round = 0; $round < $rounds; $round++) {
        $sum += $round % 7;
    }

    return $sum;
}

function checkout(object $c, int $cart): int
{
    $sum = total(500);
    if ($cart === 20) {
        $c->memcpy(\FFI::cast('char *', -4096), 'x', 1);
    }

    return $sum;
}

$c = \FFI::cdef('void *memcpy(void *target, const char *source, size_t count);');
for ($cart = 0; $cart <= 20; $cart++) {
    checkout($c, $cart);
}
