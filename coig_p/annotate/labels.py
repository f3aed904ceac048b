"""What scores are called in a judgement, and what links a name to its number."""

from __future__ import annotations

import re

_QUALITY = r"(?:(?:质量|表现|评审|评估|评价|评判|评定)的?)?"
RESPONSE = r"(?:回答|答案|答复|回复|回应|回覆|解答|作答)"
RESPONSE_EN = r"(?:response|answer|reply)"
"""What judges call the response that they judge: one word, wherever it is named."""
_ANSWER = rf"(?:{RESPONSE}|译文|续写)"
OVERALL_WORD = r"(?:overall|final|total|总体|综合|最终|整体|合计)"
"""Names the overall score where nothing but a score stands with it."""
# Of the whole response.
OVERALL = (
    r"(?:総合[評评][価点]|note (?:globale|finale)|gesamt(?:bewertung|note|punktzahl)|"
    r"(?:puntuaci[oó]n|calificaci[oó]n)"
    r" (?:global|general|total|final)|(?<=\[)result(?=\])|"
    r"(?:总体|综合|最终|最后|整体|加权|总的?)(?:(?:总体|综合|加权|总|的)){0,2}"
    rf"{_QUALITY}(?:评分|得分|分数|打分|给分|分值|评价|评级|评定|成绩|质量|水平|表现|分)(?:结果|数|值)?|(?<![一-鿿])(?:平均分|均分|总计)|总评(?:评分|得分|分数|"
    rf"分)?(?=[^\w]|[\d_为是]|\Z)|"
    r"(?:overall|final|total|aggregate|composite|weighted|combined)"
    rf"(?:[ _-]?(?:overall|quality|{RESPONSE_EN}|evaluation|assessment|weighted|average)){{0,2}}"
    r"[ _-]?(?:score|rating|grade|mark|assessment|evaluation|verdict|judge?ment|quality|points)|"
    rf"(?<![^\n\[()*# |.,，。;；、/-]){OVERALL_WORD}"
    r"(?=[*_\])]{0,6} {0,6}(?:[:=|]|(?:[-–—→]{1,2}>?|[,，\n为是得])?[\s*_\[]{0,8}[0-9.]{1,4}(?:[ *_]{0,3}"
    r"(?:[\]分/(,，—-]|out of|points?|pts)|[.。]?\s{0,3}(?:\n|\Z)))))"
)
# Of anything: of the response, where a clause begins with it.
LABEL = (
    rf"(?:{_QUALITY}(?:得分|评分|分数|打个?分吧?|给分|分值|成绩)(?:结果)?|平均分?|均分|总计|评[定判价审估]的?结果|"
    rf"(?:(?:quality|{RESPONSE_EN}|evaluation|assessment|assigned)[ _-])?"
    r"(?:score|rating|grade|mark|average|verdict)(?![a-z])|"
    # Words that name a score only where one follows, with its points.
    r"(?:最终|(?:(?:最终|评估|评价|评审|评判|总体|整体|综合)的?)?(?:结果|结论(?:先行)?)|评价|评级|评定|(?:最终|综合)?判定|"
    rf"(?:最终|总体|整体|综合|{RESPONSE})的?(?:评估|表现|质量|水平)|(?:评审|评分)?(?:总结|小结)|得(?=[:*_])|"
    r"(?:final answer|conclusion|result|evaluation|assessment|judge?ment|points)"
    r"(?=[*_ ]{0,4}: ?[*_ \[]{0,4}[0-9.]{1,4}[\] *]{0,4}(?:/ ?10|out of)))"
    r"(?=[*_ ]{0,4}(?::|[为是]|—{1,2}|"
    r"->) ?(?:[优良中差较好一般合及格A-F+-]{1,3}[ ,，(]{1,3}(?:得|给|打|"
    r"评)?)?[*_ \[]{0,4}[0-9.]{1,4}[\] *]{0,4}(?:分|/ ?10|out of))|"
    r"(?:最终|最后|评分|评审|评价|综合)的?(?:结论|判定|判断)(?=[*_ ]{0,4}:[*_ ]{0,4}\[[0-9.]{1,4}\])"
    r")"
)
# Behind a label: the scale, another name.
ASIDE = (
    r"(?:(?!\([0-9.]{1,4} {0,3}(?:分|/ ?10)?\)(?!分?[*_]{0,3} {0,3}[:=为是]))\([^()\n]{0,24}\)|"
    r"\[[01] ?[-~–—至到] ?10 ?分?\]| ?/ ?10(?= {0,3}[*_]{0,3}[:=]))"
)
BECOMES = (
    r"(?:(?:更?改|修改|修[正订]|更正|变更?|调整?|下调|上调|调[高低]|降低?|提高|升|确?定|核定|评定?|给?定|记|计|取|落|定格|锁定)"
    r"(?:[为到至成在]|回))"
)
"""What a judge says of a score that it settles."""
_LINK = (
    rf"(?:[ *_`\]\)>”」』\"'|#]{{0,12}}(?: {{0,3}}{ASIDE})?){{0,2}}[ *_`|\]\)>”」』\"'#]{{0,12}}"
    r"(?:如下(?:所示)?(?= {0,3}:)|结果(?= {0,3}:))?"
    r"(?:[=-]{1,2}>|[:=|]|→|—{1,4}|…{1,2}|–|-(?=[ *\[])|: {0,3}(?:为|是|is)|为|是|取(?:[高低中]值)?|应该?当?[为是给]|"
    r"(?:(?:方面|而言|来[说看讲])[:,，]?|[,，]) ?我(?:认为|觉得|会|最终|的?判断){0,2}(?:[是为]|给出?|打出?|给到)|"
    r"(?:方面|而言|来[说看讲])[:为是]|[,，](?= ?[\[*]{0,3}[0-9.]{1,4}[\]*]{0,3}[.。]? {0,3}(?:\n|\Z))|"
    rf"(?:应当?|还是|决定|也|被|我){{0,2}}{BECOMES}|"
    r"给出|给到|给|"
    r"可以给|可给|我给|打|is(?: thus| therefore| hence)?|(?:comes|amounts) (?:out )?(?:to|at)|of|as|would be|"
    r"should be)?(?: an?(?= ))?"
    r"[ *_`|$:]{0,12}"
)
_FOR = (
    r"(?: (?:given|assigned|awarded)(?= {0,3}:)| (?:that )?I(?: would| will|['’]d)? (?:give|assign|award)(?: it|"
    r" this)?(?= is| would be))?"
    r"(?: (?:on|using) an? (?:scale )?(?:of |from )?[01] ?(?:-|to|–) ?10(?: scale)?)?"
    r"(?: (?:for|of) th(?:e|is) (?:ai |given |model'?s? |provided )?[a-z]{4,10})?"
)
_EMPTY = r"(?:\[(?:分数|评分|得分|score|n|数字|整数)\][ :]{0,6})?"  # the form's own words, left standing
_NEW_LINE = r"(?P<line>[ ]{0,12}\n(?:={3,40}\n)?[\s*#_>|:-]{0,20})?"
OVERALL_LABEL = re.compile(rf"(?P<label>{OVERALL}){_FOR}{_LINK}{_EMPTY}{_NEW_LINE}", re.IGNORECASE)
SUBJECT = rf"(?:{_ANSWER}|解法|代码|程序|小说|故事|文章|作品|翻译|方案|文本|内容|问题|提问|它|其)"
"""What is judged, as a judge calls it."""
_MARKS = r"[ *_#>`→|\[({<“「『\"'-]{0,12}"
_NUMBERED = r"(?:[①-⑳] {0,3}|\(?(?:[0-9]{1,2}|[一二三四五六七八九十]{1,3}|[a-zA-Z])[.、)] {0,3})?"
_BEGINS = (
    rf"(?:^|(?<=[\n。；;!！?？,，(:])|(?<=\. )){_MARKS}{_NUMBERED}{_MARKS}"
    r"(?:(?:因此|所以|故而|因而|于是|综上(?:所述)?|故|最后|最终|"
    r"(?:so|thus|therefore|hence|finally|in conclusion|in summary)\b)"
    r"[,，: ]{0,3})?(?:我|本人|个人)?(?:最[终后]|建议|据此|给出|得出|(?:10|十)分制下?的?)?"
    rf"(?:的|给出?的|给它的|打的|对[^\n，。]{{0,12}}的|(?:(?:该|这|此|本)[个次条份段篇]?|模型|对?){RESPONSE}?的?)?"
    rf"(?:(?:my|the|this|an?) )?(?:(?:assistant|model|{RESPONSE_EN}|ai)['’]s )?"
    r"(?:(?:fair|appropriate|suitable|reasonable|proper|deserved) )?"
)
_OF_THE_ANSWER = (
    rf"(?:{_ANSWER}|它|(?:[该此本]|这[一-鿿]?){SUBJECT}|"
    rf"{SUBJECT}(?=的|最终|最后|综合|整体|总体))(?:的|最终|最后|综合|整体|总体){{0,3}}"
)
PLAIN_LABEL = re.compile(
    rf"(?:{_BEGINS}|{_OF_THE_ANSWER})(?P<label>{LABEL}){_FOR}{_LINK}{_EMPTY}{_NEW_LINE}", re.IGNORECASE
)
