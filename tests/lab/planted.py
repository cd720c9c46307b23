"""Known bugs planted in an application served by php-fpm: the bug's own script among other code.

The script of a regression test becomes the body of a method that a controller calls; statements which PHP allows at
the top of a file only stay there. A test that cannot be moved so is left out, by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOP_LEVEL = re.compile(r"^\s*(?:namespace|declare|use\s+[\w\\]+|const)\b|__halt_compiler|\?>", re.M)
_APPLICATION = """<?php
function _planted() {
%(body)s
}
class Controller
{
    private array $cart = [];
    public function handle(array $query): string
    {
        $this->cart = array_map(fn ($n) => ['sku' => "sku$n", 'price' => $n * 1.5], range(1, 50));
        usort($this->cart, fn ($a, $b) => $b['price'] <=> $a['price']);
        $html = implode('', array_map(fn ($row) => htmlspecialchars($row['sku']), $this->cart));
        ob_start();
        _planted();
        return $html . ob_get_clean();
    }
}
echo strlen((new Controller())->handle($_GET));
"""


@dataclass(frozen=True, slots=True)
class Planted:
    """An application with a bug in it."""

    code: str


def plant(script: str) -> Planted | None:
    """The application round a script, `None` when the script needs to be a file of its own."""
    code = script.strip()
    if not code.startswith("<?php"):
        return None
    body = code.removeprefix("<?php")
    body = re.sub(r"\?>\s*$", "", body)
    if _TOP_LEVEL.search(body):
        return None
    return Planted(_APPLICATION % {"body": body})
