<?php

/** Damages the value of a variable in this process's memory: `what` names how. */
function damage(&$v, $what)
{
    $f = FFI::cdef('extern char executor_globals[];');
    $word = fn($at) => FFI::cast('uint64_t *', $at);
    $globals = FFI::cast('uintptr_t', FFI::addr($f->executor_globals))->cdata;
    $frame = $word($globals + (PHP_VERSION_ID >= 80500 ? 512 : 488))[0];
    $reference = $word($frame + 80)[0];
    $value = $word($reference + 8)[0];
    $wild = 0x100000001000;
    $places = [
        'wild' => [$reference + 8, $wild], 'null' => [$reference + 8, 0],
        'data' => [$value + 16, $wild], 'none' => [$value + 16, 0], 'class' => [$value + 16, $wild],
        'handlers' => [$value + 24, $wild],
        'as-array' => [$reference + 16, 0x107], 'as-object' => [$reference + 16, 0x108],
    ];
    if ($what === 'inner') {
        for ($at = 8; $at <= 32; $at += 8) {
            $word($value - $at)[0] = $wild + $at;
        }
        return;
    }
    if ($what === 'element' || $what === 'key') {
        $word($word($value + 16)[0] + ($what === 'key' ? 24 : 0))[0] = $wild;
        return;
    }
    [$at, $new] = $places[$what];
    $word($at)[0] = $new;
}

/** Ends the process before it comes to use the damaged value anywhere else. */
function leave()
{
    FFI::cdef('void _exit(int);')->_exit(0);
}
