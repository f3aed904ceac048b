"""The words of the page, in English and Chinese, in the glossary's terms."""

from __future__ import annotations

from collections.abc import Mapping

from coig_p.report.sections import LANGUAGES

_WORDS: Mapping[str, tuple[str, str]] = {
    "review": ("Review", "人工评审"),
    "annotator": ("annotator", "评审员"),
    "help": ("Keys", "按键"),
    "other-language": ("中文", "English"),
    "what": ("Where to go", "导航"),
    "task": ("task", "任务"),
    "tasks": ("Tasks", "任务"),
    "all-tasks": ("All tasks", "全部任务"),
    "of": ("of", "/"),
    "round": ("round", "轮次"),
    "domain": ("domain", "领域"),
    "all": ("all", "全部"),
    "state": ("state", "状态"),
    "open": ("open", "待评"),
    "answered": ("answered", "已评"),
    "skipped": ("skipped", "已跳过"),
    "progress": ("Progress", "进度"),
    "to-next": ("Go on", "继续"),
    "done": ("Nothing is left to answer. Thank you!", "全部完成，谢谢！"),
    "enough": (
        "Enough was answered, and what is still open is not needed. Thank you!",
        "回答已经足够，余下的任务无须再答，谢谢！",
    ),
    "done-skipped": (
        "What was skipped can still be answered: open it in the list.",
        "跳过的任务仍可作答：在列表中打开即可。",
    ),
    "none": ("There is no task here yet.", "目前没有任务。"),
    "previous": ("previous", "上一个"),
    "next": ("next", "下一个"),
    "conversation": ("Conversation", "对话"),
    "responses": ("Responses", "回答"),
    "response": ("Response", "回答"),
    "your-answer": ("Your answer", "您的判断"),
    "which": ("Which response is better?", "哪个回答更好？"),
    "tie": ("tie", "平局"),
    "correct": ("Which are correct?", "哪些回答正确？"),
    "is-correct": ("is correct", "正确"),
    "query-ok": ("Is the query fit?", "问题是否合适？"),
    "feasible": ("Can a language model answer this query?", "语言模型能回答这个问题吗？"),
    "rank": ("Place each response: 1 is the best, equal places are a tie", "给每个回答排名：1为最好，名次相同为平局"),
    "place": ("place", "名次"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "comment": ("Comment", "备注"),
    "save": ("Save, and next", "保存并继续"),
    "change": ("Save the change", "保存修改"),
    "skip": ("Skip", "跳过"),
    "undo": ("Undo the last", "撤销上一个"),
    "is-answered": (
        "This task is answered. What you save now replaces the answer.",
        "此任务已评。再次保存会替换原来的判断。",
    ),
    "is-skipped": ("This task was skipped.", "此任务已跳过。"),
    "not-saved": ("Not saved:", "未保存："),
    "say-preference": ("Which response is better: choose A, tie or B.", "哪个回答更好：请选择 A、平局或 B。"),
    "say-query-ok": ("Is the query fit: choose yes or no.", "问题是否合适：请选择是或否。"),
    "say-feasible": ("Can a language model answer it: choose yes or no.", "语言模型能否回答：请选择是或否。"),
    "say-places": ("Give each response a place from 1 to 3.", "请给每个回答一个名次（1至3）。"),
    "no-value": ("{field}: {value} is none of {valid}.", "{field}：{value} 不是 {valid} 之一。"),
    "no-field": ("{field}: an answer here has no such field.", "{field}：这里的判断没有这个字段。"),
    "twice": ("{field}: given more than once.", "{field}：出现了不止一次。"),
    "too-long-comment": (
        "The comment has {number} characters; {most} are the most.",
        "备注有 {number} 个字符，最多 {most} 个。",
    ),
    "stale": (
        "Something else was saved of this task since this page was shown. Look at it in the list, or save again to "
        "replace it with what stands here.",
        "此页打开之后，这个任务又有了新的判断。请在列表中查看，或再次保存，用这里的判断替换它。",
    ),
    "no-action": ("The form was not sent whole: send it again.", "表单不完整：请再次提交。"),
    "damaged": (
        "The review cannot be read or written now. What was saved stays saved. Whoever started this server finds the "
        "reason in its terminal.",
        "目前无法读写这次评审的文件。已保存的判断不会丢失。启动服务器的人可以在终端中看到原因。",
    ),
    "not-there": ("There is no such page.", "没有这个页面。"),
    "not-from-here": ("Answers are taken from this page alone.", "只接受从本页提交的判断。"),
    "too-much": (
        "More was sent than this page reads, and nothing was saved. Go back in the browser, and shorten the comment.",
        "提交的内容太长，未保存。请在浏览器中返回，缩短备注。",
    ),
    "unreadable": ("This form cannot be read.", "无法读取提交的表单。"),
    "no-server": (
        "The server does not answer, and nothing was saved. Your answer still stands here: save it again once the "
        "server runs.",
        "服务器没有响应，未保存。您的判断仍在本页：服务器恢复后请再次保存。",
    ),
    "keys-pair": ("1, 2, 3: A, tie, B · q, w: A or B is correct", "1、2、3：A、平局、B · q、w：A 或 B 正确"),
    "keys-accept": (
        "1, 2, 3: A, tie, B · q, w: A or B is correct · e, r: the query is fit, or not",
        "1、2、3：A、平局、B · q、w：A 或 B 正确 · e、r：问题合适或不合适",
    ),
    "keys-triple": ("1, 2, 3: the place of A, then of B, then of C", "1、2、3：依次给出 A、B、C 的名次"),
    "keys-query": ("1, 2: yes, no", "1、2：是、否"),
    "keys": (
        "Enter: save · s: skip · u: undo · j, k: next, previous · c: comment, Escape leaves it · ? : these keys",
        "Enter：保存 · s：跳过 · u：撤销上一个 · j、k：下一个和上一个 · c：备注，Esc 离开 · ?：显示按键",
    ),
}


def words(language: str) -> dict[str, str]:
    """Every word of a language, by its key; English where the language is none of LANGUAGES."""
    at = LANGUAGES.index(language) if language in LANGUAGES else 0
    return {key: both[at] for key, both in _WORDS.items()}
