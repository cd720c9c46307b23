"""Surroundings for a script that crashes: pages that reach it through other code, at other depths."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

_WORDS = ("basket", "order", "customer", "invoice", "search", "import", "export", "mail", "stock", "report",
          "session", "login", "image", "price", "payment", "audit", "cache", "queue", "menu", "feed")  # fmt: skip
_VERBS = ("handle", "show", "load", "build", "render", "check", "update", "run", "send", "collect")
_RENAME = Path(__file__).with_name("rename.php")
# How one level of a page calls the next. {next} is its body; {a}, {b} are names.
_LEVELS = (
    "function {a}_{b}() {{ return {next}; }}|{a}_{b}()",
    "class {B}{A}er {{ function {a}($n) {{ return {next}; }} }}|(new {B}{A}er)->{a}(1)",
    "class {B}{A} {{ static function {a}All() {{ return {next}; }} }}|{B}{A}::{a}All()",
    "function {a}_all_{b}s($x) {{ return {next}; }}|array_map('{a}_all_{b}s', [1])",
    "function {a}_{b}_later() {{ return {next}; }}|call_user_func('{a}_{b}_later')",
    "class {B}Page {{ function __invoke() {{ return {next}; }} }}|(new {B}Page)()",
    "function {a}_each_{b}() {{ yield {next}; }}|iterator_to_array({a}_each_{b}())",
)
_WARM = (
    "$kept = []; for ($i = 0; $i < {n}; $i++) {{ $kept[] = str_repeat('x', $i % 300); }}\n"
    "$index = array_flip(range(1, {n})); unset($index[3]);\n"
    "$text = json_encode($kept); $kept = array_slice($kept, {half});\n"
)


def page(script: str, dice: random.Random) -> str:
    """PHP that works a little and then reaches `script` through one to six calls."""
    body, declared = f"require {script!r}", []
    for word in dice.sample(_WORDS, dice.randint(1, 6)):
        verb = dice.choice(_VERBS)
        names = {"a": verb, "b": word, "A": verb.title(), "B": word.title()}
        declaration, call = dice.choice(_LEVELS).split("|", 1)
        declared.append(declaration.format(next=body, **names))
        body = call.format(**names)
    number = dice.randint(10, 2000)
    warm = _WARM.format(n=number, half=number // 2) if dice.random() < 0.7 else ""
    return "<?php\n" + "\n".join(declared) + f"\n{warm}{body};\n"


def renamed(text: str, suffix: str) -> str:
    """The script with its own functions and classes called otherwise; itself where PHP cannot read it."""
    done = subprocess.run(
        ["php", "-d", "error_reporting=0", str(_RENAME), suffix], input=text.encode("utf-8", "surrogateescape"),
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 and done.stdout else text
