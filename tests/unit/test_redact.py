"""What must never be stored: secrets; and what must not be lost: everything else."""

from __future__ import annotations

import pytest

from triage import redact

R = redact.HIDDEN


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["mysql", "-uroot", "-phunter2", "shop"], ["mysql", "-uroot", f"-p{R}", "shop"]),
        (["x", "--password", "hunter2", "rest"], ["x", "--password", R, "rest"]),
        (["x", "--password=hunter2"], ["x", f"--password={R}"]),
        (["x", "--api_key=k1", "--apikey", "k2"], ["x", f"--api_key={R}", "--apikey", R]),
        (["x", "--db-token", "t", "--verbose"], ["x", "--db-token", R, "--verbose"]),
        (["x", "--password", "--verbose", "file"], ["x", "--password", "--verbose", "file"]),
        (["php", "-dmysqli.default_pw=hunter2"], ["php", f"-dmysqli.default_pw={R}"]),
        (
            ["php", "worker.php", "mysql://shop:hunter2@db:3306/shop"],
            ["php", "worker.php", f"mysql://{R}@db:3306/shop"],
        ),
        (["curl", "https://h/p?a=1&access_token=abc&b=2"], ["curl", f"https://h/p?a=1&access_token={R}&b=2"]),
        (["x", "--url=https://u:p@h/"], ["x", f"--url=https://{R}@h/"]),
        (["--password=x", "--password=x"], ["--password=x", f"--password={R}"]),
        (["x", "--password="], ["x", "--password="]),
        ([], []),
    ],
)
def test_command_line_hides_secrets_and_keeps_the_rest(given: list[str], kept: list[str]) -> None:
    assert redact.command_line(given) == tuple(kept)


ORDINARY_LINES = [
    ["php", "-d", "memory_limit=1G", "-dzend.max_allowed_stack_size=-1", "/srv/www/index.php", "--env=prod", "-v"],
    ["/usr/sbin/php-fpm8.2", "--nodaemonize", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf"],
    ["php-fpm: pool www"],
    ["php", "artisan", "queue:work", "--queue=mail,default", "--tries=3", "-vvv"],
    ["php", "bin/console", "cache:clear", "--no-warmup", "-q"],
    ["php", "-r", "$p = FFI::cdef('int puts(char *);'); $p->puts('a=b&c=d');"],
    ["php", "x.php", "-p", "8080", "--port", "9000"],
]


@pytest.mark.parametrize("line", ORDINARY_LINES, ids=lambda line: line[-1][:20])
def test_ordinary_command_lines_are_untouched(line: list[str]) -> None:
    assert redact.command_line(line) == tuple(line)


ORDINARY_TEXTS = [
    "Call to undefined method Shop\\Cart::total() in /srv/www/shop/src/Cart.php:42",
    "Allowed memory size of 134217728 bytes exhausted (tried to allocate 20480 bytes)",
    "SQLSTATE[HY000] [2002] Connection refused",
    "https://example.org/shop/cart?item=42&colour=red#top",
    "Maximum execution time of 30 seconds exceeded",
    "Übergröße: 日本語 🐘",
    "/usr/lib/x86_64-linux-gnu/libfreetype.so.6.18.3",
    "unserialize(): Error at offset 12345678 of 99999999 bytes",
    "",
]


@pytest.mark.parametrize("value", ORDINARY_TEXTS)
def test_ordinary_text_is_untouched(value: str) -> None:
    assert redact.text(value) == value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("redis://:s3cret@cache:6379/0", f"redis://{R}@cache:6379/0"),
        ("amqps://user@host", f"amqps://{R}@host"),
        ("two: ftp://a:b@c ftp://d:e@f", f"two: ftp://{R}@c ftp://{R}@f"),
        ("tcp://h:1?auth=pw&timeout=1", f"tcp://h:1?auth={R}&timeout=1"),
        ("pgsql:host=db;password=pw;port=1", f"pgsql:host=db;password={R};port=1"),
        ("Authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", f"Authorization: Bearer {R}"),
        ("key 0123456789abcdef0123456789abcdef end", f"key {R} end"),
    ],
)
def test_text_hides_by_shape(value: str, kept: str) -> None:
    assert redact.text(value) == kept


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("mysqli.default_pw", "hunter2", R),
        ("session.cookie_path", "/", "/"),
        ("app.cookie_value", "x", R),
        ("redis.session.auth", "pw", R),
        ("pdo.dsn.shop", "mysql:host=x", R),
        ("session.save_path", "tcp://r:6379?auth=pw", f"tcp://r:6379?auth={R}"),
        ("memory_limit", "1G", "1G"),
        ("error_log", "/var/log/php.log", "/var/log/php.log"),
        ("mysqli.default_pw", "", ""),
        ("mysqli.default_pw", None, None),
    ],
)
def test_setting_hides_by_name(name: str, value: str | None, kept: str | None) -> None:
    assert redact.setting(name, value) == kept


def test_uri_loses_its_query_and_fragment() -> None:
    given = ["/cart?token=abc", "/a#frag?x", "/plain/42", "/?q", "?only", None, ""]
    assert [redact.uri(uri) for uri in given] == ["/cart", "/a", "/plain/42", "/", "", None, None]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(["php", "-d", "mysqli.default_pw=hunter2", "x.php"], id="-d NAME=VALUE in two words"),
        pytest.param(["env", "DB_PASSWORD=hunter2", "php", "x.php"], id="NAME=VALUE"),
        pytest.param(["x", "--api-key=hunter2"], id="--api-key with a dash"),
        pytest.param(["x", "--password", "-hunter2"], id="value that begins with a dash"),
        pytest.param(["x", "mysql://shop:a@hunter2@db/shop"], id="@ inside of the password"),
        pytest.param(["x", "host=db password=hunter2"], id="libpq words"),
        pytest.param(["x", "pgsql:password=hunter2;host=db"], id="first word of a DSN"),
    ],
)
def test_no_secret_is_let_through(line: list[str]) -> None:
    assert "hunter2" not in " ".join(redact.command_line(line))


@pytest.mark.parametrize(
    "value",
    [
        "/srv/app/bin/import_customer_invoices_v2.php",
        'Class "CustomerInvoiceControllerV2Test" not found',
        "/blog/how-to-install-php-8-on-debian",
    ],
)
def test_long_names_are_no_tokens(value: str) -> None:
    assert redact.text(value) == value


@pytest.mark.parametrize(
    "token",
    [
        "550e8400-e29b-41d4-a716-446655440000",
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "AKIAIOSFODNN7EXAMPLEAKIA1",
        "4f9c2d1e8b7a6053f4e1d2c3b4a59687",
    ],
)
def test_tokens_stay_hidden_whatever_is_done_for_names(token: str) -> None:
    shown = redact.text(f"key {token} end")
    assert R in shown
    assert token not in shown
    assert max(len(part) for part in shown.split()) < 24
