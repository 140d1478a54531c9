"""Refuses answers from which no working plugin could be made, and names every mistake at once."""

import json
import re
import sys
from urllib.parse import urlsplit

ANSWERS = json.loads(r"""{{ cookiecutter|tojson }}""")

# the brokers that the project knows of; core's catalogue has the same, and a test compares them
TAKEN = {
    "ibkr": "brokersync-ibkr",
    "tradovate": "brokersync-tradovate",
}
KEY = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_KEY = 32
LONGEST_TEXT = 60
LONGEST_URL = 80


def mistakes_in(answers):
    checks = {
        "display_name": text_mistake,
        "author": text_mistake,
        "api_url": api_mistake,
        "demo_url": demo_mistake,
        "docs_url": url_mistake,
        "support_url": url_mistake,
    }
    key = answers["key"]
    if mistake := key_mistake(key):
        yield f"key: {mistake}"
        # the defaults of the others are made from it, and would only repeat what is wrong with it
        checks = {name: check for name, check in checks.items() if key not in answers[name]}
    for name, check in checks.items():
        if mistake := check(answers[name]):
            yield f"{name}: {mistake}"


def key_mistake(key):
    if not KEY.fullmatch(key):
        return (
            f"{key!r} is no key. It begins with a lower-case letter and holds lower-case letters, digits and single"
            " dashes, such as 'acme' or 'acme-pro'."
        )
    if len(key) > LONGEST_KEY:
        return f"{key!r} has {len(key)} characters, and a key has {LONGEST_KEY} at most."
    if key in TAKEN:
        return (
            f"{key!r} is the key of {TAKEN[key]}. Two plugins with one key are both refused, so choose another,"
            f" such as '{key}-NAME', or help with {TAKEN[key]}."
        )
    return ""


def text_mistake(text):
    if not text.strip():
        return "it is empty."
    if text != text.strip():
        return "there are blanks around it."
    if len(text) > LONGEST_TEXT:
        return f"it has {len(text)} characters, and {LONGEST_TEXT} at most fit."
    if not text.isprintable() or set(text) & set("\"\\{}"):
        return "it holds a quotation mark, a backslash, a brace or a sign that can not be printed."
    return ""


def url_mistake(url):
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        return f"{url!r} is no URL."
    if parts.scheme != "https" or not host:
        return f"{url!r} does not begin with https:// and a host."
    if user is not None:
        return "it holds a user name or password."
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host) or port == 0:
        return f"{host!r} is no name of a host, such as api.acme.com."
    if not re.fullmatch(r"[!#-\[\]-z|~]+", url):
        return "it holds a blank, a quotation mark or another sign that a URL does not have."
    if len(url) > LONGEST_URL:
        return f"it has {len(url)} characters, and {LONGEST_URL} at most fit."
    return ""


def api_mistake(url):
    if mistake := url_mistake(url):
        return mistake
    if url.endswith("/"):
        return f"{url!r} ends in a slash, and each path begins with one."
    if "?" in url or "#" in url:
        return f"{url!r} is no base URL: a path is appended to it, so it has no ? and no #."
    return ""


def demo_mistake(url):
    return api_mistake(url) if url else ""  # a broker of one environment has none


if mistakes := list(mistakes_in(ANSWERS)):
    lines = ["These answers do not make a plugin, and nothing was made:", *(f"  {mistake}" for mistake in mistakes)]
    sys.exit("\n".join(lines))
