<?php
// A C function called through FFI is handed a wrong address, as a buggy image extension might do.

namespace Shop;

final class Thumbnails
{
    private \FFI $c;

    public function __construct()
    {
        $this->c = \FFI::cdef('void *memset(void *target, int value, size_t count);');
    }

    /** @param list<string> $pictures */
    public function shrinkAll(array $pictures): array
    {
        return array_map(fn (string $picture) => $this->shrink($picture), $pictures);
    }

    private function shrink(string $picture): string
    {
        $pixels = \FFI::cast('char *', 0x1db0);
        $this->c->memset($pixels, 0, 64);

        return $picture . '.small';
    }
}

$thumbnails = new Thumbnails();
$thumbnails->shrinkAll(array_slice($argv, 1));
