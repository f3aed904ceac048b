"""Pages as functions of what lies before an annotator. None is given the folder's name, or anything of the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from coig_p.report.sections import LANGUAGES
from coig_p.report.templating import environment
from coig_p.review.page.desk import ANSWERED, OPEN, SKIPPED, Identity, Sheet, Task
from coig_p.review.page.forms import PLACES, fields_from
from coig_p.review.page.words import words


def path_of(task: Task) -> str:
    """Where a task stands, below an annotator's address."""
    return f"tasks/{task.round}/{quote(task.item, safe='')}"


def language_of(address: Mapping[str, str]) -> str:
    """The language that an address asks for; English where it asks for none of ours."""
    return address["lang"] if address.get("lang") in LANGUAGES else LANGUAGES[0]


def link(root: str, path: str, language: str) -> str:
    """The address of a page in a language."""
    query = f"?{urlencode({'lang': language})}" if language != LANGUAGES[0] else ""
    return f"{root}/{path}{query}"


def _render(template: str, root: str, path: str, language: str, annotator: str, context: Mapping[str, Any]) -> str:
    w = words(language)
    given = {
        "w": w,
        "lang": language,
        "root": root,
        "path": path,
        "annotator": annotator,
        "store": f"{w['review']} · {annotator}",  # what the frame names: never the folder, whose name may tell
        "link": lambda to: link(root, to, language),
        "other_language": link(root, path, LANGUAGES[1 - LANGUAGES.index(language)]),
    }
    return str(environment("coig_p.review.page").get_template(template).render(**given, **context))


def error_page(root: str, language: str, annotator: str, word: str) -> str:
    """A page that says what cannot be shown."""
    return _render("error.html.jinja", root, "tasks", language, annotator, {"message": words(language)[word]})


def list_page(sheet: Sheet, root: str, language: str) -> str:
    """All tasks, with how far they are."""
    following = sheet.open_after(-1)
    rows = [
        {
            "number": number,
            "path": path_of(task),
            "item": task.item,
            "round": task.round,
            "domain": task.domain,
            "state": sheet.state(task.identity),
        }
        for number, task in enumerate(sheet.tasks, 1)
    ]
    context = {
        **_progress(sheet),
        "rows": rows,
        "rounds": sheet.review.rounds,
        "next_open": None if following is None else path_of(following),
    }
    return _render("tasks.html.jinja", root, "tasks", language, sheet.annotator, context)


def task_page(
    sheet: Sheet,
    identity: Identity,
    root: str,
    language: str,
    shown: float,
    said: Mapping[str, Sequence[str]] | None = None,
    message: str = "",
) -> str:
    """One task with its form.

    Args:
        identity: a task of the sheet.
        shown: the time now in seconds, from which the server counts where no script does.
        said: fields of an answer that was refused, which stand in the form again.
        message: why it was refused.
    """
    at = sheet.place(identity)
    task = sheet.tasks[at]
    word = sheet.given(identity)
    if said is None:
        said = {} if word is None else fields_from(word.answer) | {"comment": [word.comment or ""]}
    context = {
        **_progress(sheet),
        "form": sheet.review.form,
        "task": task,
        "number": at + 1,
        "state": sheet.state(identity),
        "stamp": sheet.stamp(identity),
        "shown": f"{shown:.3f}",
        "said": said,
        "message": message,
        "places": PLACES,
        "before": path_of(sheet.tasks[at - 1]) if at else None,
        "after": path_of(sheet.tasks[at + 1]) if at + 1 < len(sheet.tasks) else None,
    }
    return _render("task.html.jinja", root, path_of(task), language, sheet.annotator, context)


def _progress(sheet: Sheet) -> dict[str, Any]:
    """What the head of a page says: how many tasks are answered, in all and by domain; and what undo takes back."""
    domains = sheet.progress()
    last = sheet.last_given()
    return {
        "domains": domains,
        "total": {state: sum(of[state] for of in domains.values()) for state in (ANSWERED, SKIPPED, OPEN)},
        "all": len(sheet.tasks),
        "undo": None if last is None else {"round": last.round, "item": last.item, "stamp": last.line},
    }
