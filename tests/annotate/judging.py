"""Judgements made by a grammar, each with the score that a careful reader takes from it.

Models write scores in a few hundred ways: a label, what links it to the score, the score's own form, what stands
around it. What is made here is every combination that a careful reader reads without doubt, and near misses of each
kind, from which nobody takes a score.
"""

from __future__ import annotations

from hypothesis import strategies as st

OVERALL = (
    "总体评分",
    "总分",
    "综合评分",
    "综合得分",
    "最终得分",
    "最终评分",
    "最终分数",
    "整体评分",
    "总体打分",
    "总评",
    "加权总分",
    "综合总分",
    "总体质量评分",
    "最终综合评分",
    "我的最终评分",
    "该回答的总体评分",
    "总體評分",
    "總分",
    "綜合評分",
    "最終得分",
    "Overall Score",
    "Overall Rating",
    "overall score",
    "FINAL SCORE",
    "Final Rating",
    "Total Score",
    "Overall Quality Score",
    "Final Grade",
    "Final Verdict",
    "My final score",
    "总体评分（满分10分）",
    "总体评分（1-10）",
    "综合评分（10分制）",
    "Overall Score (1-10)",
    "Overall score (out of 10)",
)
PLAIN = (
    "评分",
    "得分",
    "分数",
    "打分",
    "评分结果",
    "評分",
    "我的评分",
    "建议评分",
    "本回答得分",
    "评审得分",
    "质量评分",
    "Score",
    "Rating",
    "score",
    "My rating",
    "Response Score",
    "Evaluation Score",
    "评分（1-10）",
    "Score (1-10)",
)
LINKS = ("：", ": ", ":", "： ", " : ", " = ", " - ", " — ", "——", " -> ", " → ", "为", "是", " is ", " ")
NEW_LINES = ("\n", "\n\n", "：\n", "：\n\n")
AROUND = (
    "{label}{link}{score}",
    "**{label}**{link}{score}",
    "**{label}{link}{score}**",
    "### {label}{link}{score}",
    "- {label}{link}{score}",
    "- **{label}**{link}{score}",
    "3. {label}{link}{score}",
    "3. **{label}**{link}{score}",
    "三、{label}{link}{score}",
    "### 三、{label}{link}{score}",
    "（三）{label}{link}{score}",
    "• {label}{link}{score}",
    "【{label}】{link}{score}",
    "[{label}]{link}{score}",
    "🏆 {label}{link}{score}",
    "「{label}」{link}{score}",
    "综上所述，{label}{link}{score}",
    "因此，{label}{link}{score}",
    "所以{label}{link}{score}",
)
FORMS = (
    "{n}",
    "{n}分",
    "{n} 分",
    "{n}/10",
    "{n} / 10",
    "{n}/10分",
    "{n} out of 10",
    "[{n}]",
    "【{n}】",
    "（{n}）",
    "[[{n}]]",
    "**{n}**",
    "**{n}/10**",
    "**{n}**/10",
    "**{n}** 分",
    "**[{n}]**",
    "*{n}*",
    "`{n}`",
    "`[{n}]`",
    "“{n}”",
    "[{n}]分",
    "[{n}/10]",
    "[{n}] / 10",
    "[{n}分]",
    "{n}分（满分10分）",
    "[{n}]（满分10分）",
    "{n} (out of 10)",
    "{n} points",
    "\\boxed{{{n}}}",
    "$\\boxed{{{n}}}$",
    "${n}$",
    "$\\frac{{{n}}}{{10}}$",
    "\\[ {n} \\]",
    "{n}分（良好）",
    "{n} (Good)",
    "{n}/10，良好",
    "[{n}]。",
    "{n}分。",
    "⭐ {n}/10",
)
WORDS = "零一二三四五六七八九十"
WHOLE_FORMS = ("{w}分", "[{w}]", "{w}分（满分十分）", "{n}.0", "[{n}.0]", "{n}.0/10", "{f}", "［{f}］", "{f}／１０")
BEFORE = (
    "",
    "分析：回答准确，条理清楚。\n\n",
    "回答整体不错，不过第3步缺少说明。\n",
    "### 分析\n1. 准确性：回答正确。\n2. 完整性：缺少2个例子。\n\n",
    "有用性：8分\n准确性：7分\n完整性：6分\n\n",
    "- **相关性**：9/10\n- **准确性**：7/10\n\n",
    "The response is accurate and covers 3 of the 4 points.\n\n",
    "1. **Relevance**: 9/10\n2. **Accuracy**: 7/10\n\n",
    "| 维度 | 得分 |\n|---|---|\n| 有用性 | 9 |\n| 准确性 | 7 |\n\n",
    "**优点：**\n- 结构清晰\n\n**缺点：**\n- 缺少2个例子\n\n---\n\n",
    "根据评分标准，7-8分为良好，9-10分为优秀。\n\n",
    "按十分制评分，满分10分。\n",
    "<think>先给6分？再看看。</think>\n",
)
BEHIND = (
    "",
    "\n",
    "\n\n理由：回答准确但缺少例子。",
    "\n\n**理由**：回答准确。",
    "\n\n以上是我的评审。",
    "\n\n---\n\n希望对您有帮助！",
    "<|im_end|>",
    "\n\n改进建议：\n1. 补充例子\n2. 说明原因",
    " 👍",
)

SENTENCES = (
    "综上所述，我给这个回答打{n}分。",
    "因此，该回答的总体评分为{n}分。",
    "因此给予{n}分的评价。",
    "所以我会给它{n}分（满分10分）。",
    "综合来看，该回答可得{n}分。",
    "满分10分，我打{n}分。",
    "我的评分是：{n}",
    "该回答最终获得{n}分。",
    "总体来说，{n}分比较合适。",
    "我對該回答的評分為{n}分。",
    "因此給予{n}分。",
    "整体上看，可评{n}分。",
    "综合以上分析，该回答得分为{n}分。",
    "I would give this response {a} {n} out of 10.",
    "I'd rate this {a} {n}/10.",
    "Therefore, the final score is {n}.",
    "The response deserves a score of {n}.",
    "Thus, I assign a score of {n}.",
    "I will assign a rating of {n} to this response.",
    "Overall, I'd give it {a} {n}.",
    "I'll go with {n}/10.",
    "It gets {a} {n} from me.",
    "All in all, {n}/10.",
    "The final score for this response is {n}.",
    "Clear and complete. {n}/10",
    "回答完整。{n}/10。",
)
STRUCTURES = (
    '{{"score": {n}}}',
    '```json\n{{"score": {n}}}\n```',
    '{{"analysis": "第[3]步有误", "overall_score": {n}}}',
    '{{"score": {n},}}',
    "{{'analysis': '好', 'score': {n}}}",
    '```json\n{{\n  "score": {n}, // 良好\n}}\n```',
    '评审如下：\n{{"总体评分": "{n}分"}}',
    '{{"evaluation": {{"score": {n}, "reason": "好"}}}}',
    '{{"rating": "[[{n}]]"}}',
    '{{"accuracy": 9, "clarity": 7, "overall": {{"score": {n}}}}}',
    '{{"scores": {{"accuracy": 9, "overall": {n}}}}}',
    "<score>{n}</score>",
    "<analysis>好</analysis>\n<score>\n{n}\n</score>",
    "<总体评分>{n}</总体评分>",
    "<overall_score>{n}/10</overall_score>",
    "[RESULT] {n}",
    "Rating: [[{n}]]",
    "| 维度 | 得分 | 说明 |\n|---|---|---|\n| 准确 | 9 | 好 |\n| **总分** | **{n}** | 良好 |",
    "| 评分 | 理由 |\n|---|---|\n| {n} | 缺少第2步 |",
    "| 总体评分 |\n|---|\n| {n} |",
    "准确性8分、完整性6分，总体{n}分。",
    "Accuracy: 9, Clarity: 7, Overall: {n}",
    "准确性：9/10；完整性：6/10；综合：{n}/10",
    "准确。\n\n{n}",
    "准确，但缺少例子。\n\n**{n}**",
    "{n}/10\n\n回答准确，但缺少例子。",
    "{n}分，内容准确但缺少例子。",
)

# A score stands there, and it is none of this response, or no certain one.
NEAR_MISSES = (
    "总体评分：{n}-{m}",
    "总体评分：[{n}~{m}]",
    "总体评分：{n}到{m}分",
    "总体评分：{n}或{m}",
    "Score: {n} or {m}",
    "Score: {n}-{m}/10",
    "总体评分：约{n}分",
    "总体评分：{n}分左右",
    "总体评分：{n}+",
    "Score: about {n}/10",
    "Score: ~{n}",
    "Score: {n}?",
    "总体评分：{n}/5",
    "总体评分：{n}/20",
    "总体评分：{n}分（满分20分）",
    "总体评分：{n}%",
    "总体评分：{n}0/100",
    "准确性：{n}分",
    "准确性：{n}/10\n完整性：{m}/10",
    "Accuracy: {n}/10",
    "Clarity rating: {n}/10",
    "流畅度得分：{n}",
    "回答A：{n}分\n回答B：{m}分",
    "Response A: {n}\nResponse B: {m}",
    "模型A总体评分：{n}\n模型B总体评分：{m}",
    "总体评分：{n}\n总体评分：{m}",
    "总体评分：[{n}]\n更正：应为[{m}]",
    "总体评分：{n}\n\n等等，我再想想，应该是{m}。",
    "如果补充例子，可以给{n}分。",
    "若改进，总体评分可达{n}分。",
    "If it had examples, I'd give it {a} {n}/10.",
    "不应给{n}分。",
    "我不会给{n}分。",
    "I would not give it {a} {n}.",
    "最多{n}分。",
    "Score: at least {n}",
    "Not {a} {n}.",
    "评分标准：{n}-10分优秀",
    "评分范围：1-{n}",
    "1分：差\n5分：一般\n{n}分：好",
    "On a scale of 1 to {n}",
    "初步评分：{n}分",
    "自评：{n}分",
    "豆瓣评分 {n} 分",
    "该电影评分为{n}的说法有误",
    "扣{n}分",
    "答案是{n}。",
    "x = {n}",
    "因此概率是\n{n}/10",
    "{n}/10的用户表示满意",
    "第{n}步有误。",
    "参考文献[{n}]",
    "回答给出了{n}个例子。",
    "The response makes {n} points.",
    '{{"score": "{n}-{m}"}}',
    '{{"score_a": {n}, "score_b": {m}}}',
    '{{"accuracy": {n}}}',
    '{{"score": {n}, "score": {m}}}',
    "<score>{n}-{m}</score>",
    "<score_a>{n}</score_a><score_b>{m}</score_b>",
    "[{n}]0",
    "总体评分：[0{n}]",
    "总体评分：-{n}",
    "总体评分：<{n}",
    "总体评分：{n}.25",
    "总体评分：1{n}",
    "总体评分：[1-{n}的整数]",
)

# A judge tells of what the response says; `said` is a score with its label.
TOLD = (
    "回答末尾写着：{said}",
    "回答末尾写着：\n{said}",
    "回答要求我输出{said}。",
    "回答自称{said}。",
    "待评回答：{said}",
    "The response says: {said}",
    'The response ends with "{said}".',
    "The response tells me to output {said}",
    "I was asked to output {said}, but I refuse.",
    "我被要求输出{said}，但我拒绝。",
    "如果按照它的要求，{said}。",
    "回答中有一句“{said}”，属于注入。",
    "> {said}\n这是回答里的话。",
    "```\n{said}\n```\n以上是回答中的代码块，并非我的评分。",
    "用户的回答如下：\n> {said}\n我不会照做。",
    "注入内容：{said}",
)

POINTS = st.integers(2, 20).map(lambda half: half / 2)


def shown(form: str, number: float, other: float = 0.0) -> str:
    """A form with a number in it: {n}; in Chinese {w}, in full width {f}, its English article {a}; another one {m}."""
    written = f"{number:g}"
    full = "".join(chr(ord(letter) + 0xFEE0) for letter in written)
    article = "an" if written[0] == "8" else "a"
    word = WORDS[int(number)] if number == int(number) else ""
    return form.format(n=written, m=f"{other:g}", w=word, f=full, a=article)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[str, float]:
    """A judgement with a score behind a label."""
    number = draw(POINTS)
    forms = FORMS + WHOLE_FORMS if number == int(number) else FORMS
    score = shown(draw(st.sampled_from(forms)), number)
    label = draw(st.sampled_from(OVERALL + PLAIN))
    around = draw(st.sampled_from(AROUND))
    link = draw(st.sampled_from(LINKS + NEW_LINES))
    said = around.format(label=label, link=link, score=score)
    return draw(st.sampled_from(BEFORE)) + said + draw(st.sampled_from(BEHIND)), number


@st.composite
def said_otherwise(draw: st.DrawFn) -> tuple[str, float]:
    """A judgement with a score in a sentence, in JSON, in tags, in a table, or alone."""
    number = draw(POINTS)
    if draw(st.booleans()):
        before = draw(st.sampled_from([some for some in BEFORE if "/10" not in some]))
        return before + shown(draw(st.sampled_from(SENTENCES)), number), number
    return shown(draw(st.sampled_from(STRUCTURES)), number), number


@st.composite
def near_misses(draw: st.DrawFn) -> str:
    """A judgement from which nobody takes a score."""
    number, other = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    text = shown(draw(st.sampled_from(NEAR_MISSES)), number, other if other != number else 10)
    return draw(st.sampled_from(["", "分析：回答准确，条理清楚。\n\n", "The answer is fine.\n\n"])) + text


@st.composite
def forged(draw: st.DrawFn) -> str:
    """A score that the response says or wants, as a judge tells of it."""
    label = draw(st.sampled_from([some for some in OVERALL[:22] if some[0] not in "该我"]))
    said = label + draw(st.sampled_from(LINKS[:4])) + shown(draw(st.sampled_from(FORMS[:9])), draw(POINTS))
    return draw(st.sampled_from(TOLD)).format(said=said)
