"""The words of the report of a review, in English and Chinese, in the glossary's terms."""

from __future__ import annotations

from collections.abc import Mapping

from coig_p.report.sections import in_language

_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Review {name} of {store}", "{store} 的人工评审：{name}"),
    "facts": (
        "{form}: {items} items, {answered} of them answered; waiting for somebody: {waiting}; open: {open}. "
        "Annotators: {people}, {overlap} an item; rounds: {rounds}; skipped: {skipped}; comments: {comments}.",
        "{form}：共 {items} 条，已有答案 {answered} 条，尚待作答 {waiting} 条，未决 {open} 条。"
        "评审员 {people} 人，每条 {overlap} 人；轮数 {rounds}；跳过 {skipped}；附言 {comments}。",
    ),
    "form-pair": ("Form pair", "两两评审"),
    "form-accept": ("Form accept", "验收"),
    "form-triple": ("Form triple", "三个回答排序"),
    "form-query": ("Form query", "问题可行性"),
    "query": ("query", "问题"),
    "torn": (
        "Lines of answers that a kill cut short, and that count for nothing: {torn}.",
        "因程序中断而不完整、不计入的答案：{torn} 行。",
    ),
    "no-boxes": (
        "Nobody called any response correct, so the boxes were not used: right is preferred alone.",
        "没有人勾选“正确”，因此只看偏好。",
    ),
    "no-answers": ("Nobody has answered yet.", "还没有人作答。"),
    "alone": (
        "Items that one annotator alone was shown tell nothing of agreement.",
        "只给一位评审员看的条目无法说明一致性。",
    ),
    "by": (
        "Pairs that are most likely wrong were drawn, so the share that is right says nothing of the store as a whole.",
        "抽取的是最可能有错的偏好对，因此对的比例不能代表整个数据仓库。",
    ),
    "strata": (
        "Items were drawn evenly by margin: shares of domains are of this draw, and the mean by strata of the store.",
        "条目按分差均匀抽取：各领域的比例只是这次抽样的，分层平均才是数据仓库的。",
    ),
    "other-store": (
        "The store is another than the review was drawn from; all that was shown is still there, unchanged.",
        "这个数据仓库不是当初抽样的那个；但展示过的内容都还在，没有改动。",
    ),
    "right-title": ("How often the store is right", "数据仓库有多少是对的"),
    "feasible-title": ("How many queries are feasible", "有多少问题可行"),
    "right-is": (
        "An item is right where, by the majority, all of this holds: {criteria}. "
        "It is wrong where one of these fails, and open where none fails but one has no majority: an open item is left "
        "out, and counts as wrong in a column of its own.",
        "按多数意见，以下各项都成立才算对：{criteria}。有一项不成立就是错；没有不成立的、但有一项没有多数意见，则为未决。"
        "未决的条目不计入；另有一列把它们算作错。",
    ),
    "and": (", ", "、"),
    "right": ("right", "对"),
    "preferred": ("chosen preferred", "更优回答胜出"),
    "correct": ("chosen correct", "更优回答正确"),
    "query_ok": ("query fits", "问题合适"),
    "feasible": ("feasible", "可行"),
    "items": ("items", "条目"),
    "share": ("share", "比例"),
    "interval": ("95% interval", "95% 区间"),
    "open": ("open", "未决"),
    "open-wrong": ("open as wrong", "未决算错"),
    "needed": ("items for ±5", "±5 所需条目"),
    "all": ("all", "全部"),
    "by-macro": ("Mean over domains", "各领域平均"),
    "by-pairs": ("Weighted by pairs of the store", "按偏好对数加权"),
    "by-queries": ("Weighted by queries of the store", "按问题数加权"),
    "by-strata": (
        "Weighted by the store's pairs of each domain and margin ({covered} of them)",
        "按各领域、各分差段的偏好对数加权（覆盖其中 {covered}）",
    ),
    "strata-mean": ("", ""),
    "se": ("standard error", "标准误"),
    "pooled": (
        "Domains with fewer than {few} items ({domains}) cannot say how much their own items differ: standard errors "
        "take the share of all items there.",
        "不足 {few} 条的领域（{domains}）无法说明自身条目的差异：标准误在这些领域改用全部条目的比例。",
    ),
    "no-weights": (
        "A domain has no majority on any item yet, so no mean over domains is told.",
        "有的领域还没有任何多数意见，因此不给出各领域平均。",
    ),
    "how-needed": (
        "An interval of 5 points to either side takes z² p (1 - p) / .05² items, rounded up, and never fewer than "
        "{least}: as many as Wilson's interval takes where all of them are right, or none.",
        "要使区间为上下 5 个百分点，需要 z² p (1 - p) / .05² 条，向上取整，且不少于 {least} 条："
        "全对或全错时，Wilson 区间也要这么多。",
    ),
    "margins-title": ("By margin", "按分差"),
    "margin": ("margin", "分差"),
    "domain": ("domain", "领域"),
    "annotators-title": ("By annotator", "按评审员"),
    "majority": ("majority", "多数意见"),
    "mean": ("mean", "平均"),
    "mean-is": (
        "The mean counts every answer alike; its interval knows that several are of one query.",
        "平均把每个答案同等计入；其区间考虑了一个问题有多个答案。",
    ),
    "answers": ("answers", "答案"),
    "agreement-title": ("Agreement of people", "评审员之间的一致性"),
    "agreement-is": (
        "In the first round: equal verdicts of every two people over items that both judged, and agreement beyond "
        "chance with 95% intervals. Alpha is low where nearly all verdicts are alike, however seldom people differ; "
        "AC1 is not.",
        "取第一轮：每两位评审员都判断过的条目中意见相同的比例，以及扣除偶然后的一致性（95% 区间）。"
        "几乎所有意见都相同时 alpha 会很低，哪怕分歧很少；AC1 则不会。",
    ),
    "no overlap": ("no item has two verdicts", "没有条目有两个判断"),
    "one category": ("all verdicts are alike", "所有判断都相同"),
    "uneven": (
        "items have different numbers of verdicts, and it needs as many of each",
        "各条目的判断数不同，而它要求相同",
    ),
    "pairs-title": ("Every two people", "每两位评审员"),
    "units": ("verdicts", "判断"),
    "percent": ("equal", "相同"),
    "kappa": ("Cohen's kappa", "Cohen kappa"),
    "judges-title": ("People and judges", "评审员与评审模型"),
    "judges-is": (
        "Equal verdicts of every two, as mean over people, over people with judges, and over judges.",
        "每两者意见相同的比例：评审员之间、评审员与评审模型之间、评审模型之间的平均。",
    ),
    "people-people": ("people", "评审员之间"),
    "people-judges": ("people and judges", "评审员与评审模型"),
    "judges-judges": ("judges", "评审模型之间"),
    "both": ("people and judges together", "评审员与评审模型一起"),
    "judges-only": ("judges alone", "只看评审模型"),
    "alphas": ("Of {who}: alpha {alpha}, AC1 {ac1}.", "{who}：alpha {alpha}，AC1 {ac1}。"),
    "matrix-title": ("Every two of people and judges", "评审员与评审模型两两之间"),
    "average": ("average", "平均"),
    "ranked-title": ("Ranks from triples", "由三个回答的排序得出的名次"),
    "ranked-is": (
        "Of {queries} queries {relations} relations have a majority; {conflict} of them are not in the ranks, since "
        "others contradict them. {pairs} pairs are joined by a path from the better response to the other.",
        "{queries} 个问题中有 {relations} 个关系得到多数意见；其中 {conflict} 因与其他关系矛盾而不在名次里。"
        "{pairs} 对回答之间有从更好到更差的路径。",
    ),
    "ranks": ("from the best to the worst", "从最好到最差"),
    "kept": ("relations kept", "保留的关系"),
    "quality-title": ("How annotators work", "评审员的工作情况"),
    "quality-is": (
        "Signs of guessing, hurry or leaning. They are shown with what was seen, and nobody's answers are dropped.",
        "猜测、匆忙或偏向的迹象，附上依据；不会丢弃任何人的答案。",
    ),
    "skipped": ("skipped", "跳过"),
    "gold": ("known answers right", "已知答案答对"),
    "with-others": ("with the others", "与他人相同"),
    "ties": ("ties", "平局"),
    "side": ("side shown first", "选先出现的一侧"),
    "seconds": ("seconds", "秒"),
    "speed": ("seconds a character", "每字秒数"),
    "run": ("longest run", "最长连续"),
    "flags": ("flags", "标记"),
    "flag-gold": ("known answers missed", "已知答案答错多"),
    "flag-others": ("differs from the others", "与他人不同"),
    "flag-ties": ("ties unlike the others", "平局多少异于他人"),
    "flag-side": ("leans to a side", "偏向一侧"),
    "flag-speed": ("too fast to have read", "快得来不及读"),
    "flag-run": ("one answer again and again", "连续同一答案"),
    "of": ("of", "共"),
    "at most": ("at most", "至多"),
    "of the others": ("the others", "他人"),
    "p": ("p", "p"),
    "first": ("shown first", "先出现的一侧"),
    "seconds a character": ("seconds a character", "每字秒数"),
    "in a row": ("in a row", "连续"),
    "repeats": (
        "Asked again as an audit, people said the same in {same} of {number} ({share}).",
        "复查时，同一评审员给出相同意见 {same} / {number}（{share}）。",
    ),
    "repeats-others": (
        "Asked another as an audit, the verdict was the same in {same} of {number} ({share}).",
        "由他人复查时，意见相同 {same} / {number}（{share}）。",
    ),
}


def words(language: str) -> dict[str, str]:
    """All words of a language; UnknownNameError where it is none of LANGUAGES."""
    return in_language(_WORDS, language)
