<?php

/** Where a variable's value lies in this process's memory: `[the word of its reference that tells, the value]`. */
function place_of(&$v)
{
    $f = FFI::cdef('extern char executor_globals[];');
    $word = fn($at) => FFI::cast('uint64_t *', $at);
    $globals = FFI::cast('uintptr_t', FFI::addr($f->executor_globals))->cdata;
    $frame = $word($globals + (PHP_VERSION_ID >= 80500 ? 512 : 488))[0];
    $reference = $word($word($frame + 48)[0] + 80)[0];
    return [$reference, $word($reference + 8)[0]];
}

/**
 * Damages the value of a variable. `places` is a list of PATH=WORD, or up to three such lists, ` / ` between them: for
 * PHP 7.4, for 8.0 to 8.3, for newer ones; the last holds for all that follow. A path's numbers are offsets in bytes, the first from the value (from the reference around it
 * after an `r`), each further one from where the word there points to. `wild` is an address that is not mapped; a word
 * that begins with `:` is written as 32 bits.
 */
function poke(&$v, $places)
{
    [$reference, $value] = place_of($v);
    $lists = explode(' / ', $places);
    $list = min(count($lists) - 1, (PHP_VERSION_ID >= 80000) + (PHP_VERSION_ID >= 80400));
    foreach (explode(' ', $lists[$list]) as $place) {
        [$path, $word] = explode('=', $place);
        $at = $path[0] === 'r' ? $reference : $value;
        foreach (explode(',', ltrim($path, 'r')) as $number => $offset) {
            $at = ($number ? FFI::cast('uint64_t *', $at)[0] : $at) + (int) $offset;
        }
        $short = $word[0] === ':';
        $new = ltrim($word, ':') === 'wild' ? 0x100000001000 : intval(ltrim($word, ':'), 0);
        FFI::cast($short ? 'uint32_t *' : 'uint64_t *', $at)[0] = $new;
    }
}

/** Ends the process before it comes to use the damaged value anywhere else. */
function leave()
{
    FFI::cdef('void _exit(int);')->_exit(0);
}
