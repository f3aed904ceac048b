"""Where a judgement says a score.

Three ways: behind a label (`labelled`), in a sentence that gives it (`given`), alone on the last line (`alone`).
In a sentence the judge gives a score or the response gets it; what is supposed, held back, another's or a part's is
none. The number itself, with its brackets and scale, is read in `values`.
What may stand between a label and its score is bounded, so that reading takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from coig_p.annotate.examples import called_example
from coig_p.annotate.labels import BECOMES, OVERALL_LABEL, PLAIN_LABEL, RESPONSE, RESPONSE_EN, SUBJECT
from coig_p.annotate.quoting import CLAUSE, tells, told_of
from coig_p.annotate.score_tables import in_row
from coig_p.annotate.values import BARE, CLOSED, FITS, GLUED, SCALE, Found, value

# Behind such words somebody is asked for a score.
_WANTED = re.compile(
    r"(?:(?:(?:(?<!指令)(?<!评分)(?<!题目)要求|诱导|迫使|企图|试图)(?:我|评委|评审|裁判|模型)?|"
    r"[让请叫使令](?:我|评委|评审|裁判))[^\n。；;，,]{0,4}|"
    r"(?:按照?|依照?|遵照|照)"
    rf"(?:它|其|他|她|{RESPONSE}|指令|注入|对方|文中|里面)[^\n。；;]{{0,8}}(?:要求|指[令示]|"
    r"说法|意思)"
    r"[^\n。；;]{0,6})(?:输出|给出?|打|写|回复|评)?\Z|请(?:直接|仅|只)?(?:输出|打印|返回|写出?|给出)[^\n。；;，,]{0,4}\Z|"
    r"\b(?:please|just|simply|directly) (?:output|print|write|respond with|reply with|answer with|say|return|give)"
    r"[^\n.;:]{0,16}:? {0,3}\Z|"
    r"\bto (?:output|print|write|respond with|reply with|answer with|say|return)[^\n.;:]{0,16}:? {0,3}\Z",
    re.IGNORECASE,
)
# A label behind such a word is not that of the judgement.
_OTHER = re.compile(
    r"(?:初步|初始|初评|暂定|暂时|原先|原本|原来|先前|之前|此前|自评|本题|此题|该题|题目|每题|全卷|"
    r"preliminary|initial|previous|earlier|tentative|first)[^\n。；;]{0,6}\Z|[性度]\Z|"
    r"(?:伪造|虚[假构]|注入|植入|内嵌|期望|预期|目标|其[他它]|别的|fake|forged|injected|expected|target|self-assigned)"
    r"[^\n。；;，,]{0,4}\Z|"
    r"(?:例如|比如|譬如|示例|范例|样例|(?:格式|模板)(?:如下|为|是)?|format|template|such as|for example|"
    r"e\.g\.|example)[,，:\s]{0,3}\Z|(?:系统|system) {0,3}:[^\n。；;]{0,6}\Z|如果?照[^\n。]{0,10}\Z|"
    r"[我委审](?:应|该|需|必须|要)[该当]?(?:输出|写|回复)[^\n。，,]{0,4}\Z|"
    r"(?:不[会能应该得予]?|拒绝|\bnot|n't|refuse to) {0,3}(?:输出|给出|写|照|output|write|give|say|print)"
    r"[^\n。；;，,]{0,12}\Z",
    re.IGNORECASE,
)
# A sentence gives a score where a judge gives it, or where the response gets it.
_DEDUCTED = (
    r"(?<![^\n])(?:[总一]?共|合计|累计)?扣[除去掉了]{0,2} ?[0-9.]{1,4} ?分[,，] ?(?:最终|故|因此|所以)?得到?|"
    r"满分[为是]? ?10 ?分?(?:[^\n0-9。；;]{0,12}扣[除去掉了]{0,2} ?[0-9.]{1,4} ?分)?[,，][^\n0-9。；;]{0,6}[得给打]到?"
)
_JUDGE_GIVES = (
    r"(?<![扣减加得多少再])(?:给予|给出?|打出?|打个|(?:评定|判定|核定|定|判|记|计)[为成作]|"
    r"(?<![自总初互点影短好差测])评为?|我打|(?:直接|应)判|赋予?|(?:最终|最后|还是|综合|倾向于?)(?:选择?|取|维持|保持)|(?<=[,，])取)|"
    rf"(?:最终|最后|遂|故|因此|所以|于是)(?:还是|决定|我|将其?|分数|得分|评分|把?它){{0,3}}{BECOMES}"
)
_SURELY = r"(?:最终|最后|理应|应[该当]?|可以?|能够?|足以|只|仅){1,3}"
_ANSWER_GETS = (
    rf"(?:{SUBJECT}(?:在?按?(?:10|十)分制[下中里]?|综合|整体|总体|[总一]?共|会|将|也|还是|勉强|{_SURELY}){{0,3}}|"
    rf"{_SURELY}|(?<![^\n])(?!达到)|"
    rf"{SUBJECT}[^\n。；;0-9]{{0,40}}[,，](?:故|因此|所以)?(?!达到))(?:配得上|获得?|得到?|拿到?|赢得|达到)|值得?[给打]?"
)
_KIND_EN = r"(?: (?:overall|final|total|solid|strong|good|clear|decent|fair|weak|poor|perfect))?"
_JUDGE_GIVES_EN = (
    r"\b(?<!overall )(?<!final )(?<!total )(?:(?:give|rate|score|assign|award|grade)(?! ?[*_]{0,3}:)|gave|"
    r"(?:(?<=I am )|(?<=I['’]m )|(?<![^\n])|(?<=\. )|(?<=comfortable )|(?<=end up ))"
    r"(?:giv|rat|scor|assign|award|grad)ing)"
    rf"(?: (?:it|this|that|the|{RESPONSE_EN}|solution|one|a|an|as|at|score|rating|grade|of|be|to|solid|strong|"
    r"perfect|full|fair)\b){0,8}|"
    r"\bI(?: would| will| am|['’]d|['’]ll|['’]m)? (?:say|go(?:ing)? with|went with|"
    rf"(?:put|place) (?:it|this)(?: {RESPONSE_EN})? at|land(?:ed)? (?:on|at)|settled? (?:on|for|at)|stick with|"
    rf"lean towards?|call (?:it|this))(?: an?)?{_KIND_EN}"
)
_ANSWER_GETS_EN = (
    rf"\b(?:{RESPONSE_EN}|it|this|solution|code|translation|story|continuation|output|submission)"
    r"(?: (?P<would>would|should|does|can|could|to)(?= ))?"
    r"(?: (?:clearly|definitely|certainly|easily|overall|therefore|thus|still|only|just)){0,2} "
    r"(?:(?:get|receive|deserve|earn|merit|score|warrant|achieve|rate)(?(would)|s)|"
    r"(?:is|be) (?:rated|scored|graded|worth|given)|"
    r"(?:sits|lands|comes(?: in| out)?)(?: squarely| firmly| solidly)?(?: at| to)?)"
    rf"(?: (?:at|as|an?)){{0,2}}{_KIND_EN}(?: (?:score|rating|grade|mark) of)?(?: an?)?|"
    r"\b(?:this|it|response|reply)(?: is| would be|['’]s)(?: easily| clearly| definitely| certainly)?"
    rf"(?: an?)?{_KIND_EN}|"
    r"\b(?:score|rating) of|"
    rf"\b(?:makes (?:it|this)|brings (?:it|this) to|translates (?:in)?to)(?: an?)?{_KIND_EN}"
)
_GIVES = re.compile(
    rf"(?P<label>{_DEDUCTED}|(?:{_JUDGE_GIVES}|{_ANSWER_GETS})"
    rf"(?:了|到|个|满分|[该本此](?:条|份|段|篇|次)?|[这那][个条份段篇次]?|模型(?=的?{RESPONSE})|{RESPONSE}|它|其|的|总体|评分|分数|得分|"
    r"一个){0,6}|"
    rf"{_JUDGE_GIVES_EN}|{_ANSWER_GETS_EN})[ *_:]{{0,6}}",
    re.IGNORECASE,
)
# In a sentence with such a word, a score is not given but thought of.
_SUPPOSED = re.compile(
    r"若(?!干)|如果|假如|要是|倘|假设|本可|本应|本来|原[本来打想]|除非|再[^，,]{1,6}[些点下全][^，,]{0,3}[就便可能]|"
    r"[改修补][进正改全][之以]?后|只有[^，,]{0,16}才|(?:修改|补充|改进|完善|修正|改正|加上|增加)[^,，]{0,12}[可能会]|"
    r"\b(?:if|had (?:it|the|this|there)|unless|could have|would have|should have|were it|aside(?! from)|"
    r"with an?(?= (?:example|few|bit|little|clearer|better|more)))\b",
    re.IGNORECASE,
)
# And so in the same breath as such a word, which no comma parts from it.
_HELD_BACK = re.compile(
    r"差[点些]|险些|曾[经想]|一开始|[起最当]初|初步|暂[给定且评]|原先|先前|务必|必须|满分|自己|自我|自身|拒绝|无法|最多|最高|至多|至少|顶多|充其量|不足以|难以|[很较]难|"
    r"是否|能否|要不要|该不该|为何|为什么|通常|往往|一般来[说讲]|不能|不应|不该|不会|不宜|(?:不(?![错足])|未|没|别|勿)[^，,]{0,3}\Z|"
    r"\b(?:cannot|not|at most|at least|maximum|hesitate|initially|at first|"
    r"nearly|almost|might|someone|you must|please|was going to|"
    r"(?:perfect|flawless|ideal|only an?) [^,\n]{0,12}\Z)|n['’]t\b",
    re.IGNORECASE,
)
# In the same breath as such words, it is another's, or that of a part.
_OF_OTHERS = re.compile(
    r"(?:有人|用户|主角|角色|学生|考生|同学|老师|小[一-鿿]|人类|标注[者员]|读者|观众|网友|别人|专家)[^，,]{0,12}\Z|"
    r"(?:参考|标准|满分|完美|[上前]一?[版个次轮]的?|另一[个份]?|其[他它]|别的|类似的?|[这此那][类种]|[这那]样的|一般的?|"
    rf"优秀的?)(?:{RESPONSE}|译文|版本)?[可应能会]{{0,3}}\Z|"
    r"(?:[他她]|裁判|(?<!本)(?<!位)评委|比赛|比分|程序)[^，,]{0,6}\Z|"
    rf"\b(?:{RESPONSE_EN}|prompt|text|author|user)\b[^,.]{{0,30}}\b(?:assigns|gives|awards|rates|concludes|ends|claims)"
    r"[^,.]{0,12}\Z|"
    r"\b(?:film|movie|book|restaurant|student|character|product|user|reader|judge|reviewer)s?\b|\bin the \Z",
    re.IGNORECASE,
)
_OF_A_PART = re.compile(
    r"(?:就[^，,]{1,10}(?:而言|来[说看讲])|从[^，,]{1,8}来?[说看讲]|(?:单|如?只|若只|仅)[看论就从凭][^，,]{1,10}|论[^，,]{1,6}|"
    r"(?:抛开|撇开|不计|不看|忽略)[^，,]{1,12})(?:[，,][^，,]{0,6}|[^，,]{0,3})\Z|"
    r"(?:过程|书写|步骤|文笔|格式|排版|语言|逻辑|创意|情节|态度)(?:上|部分)?[可应能会]{0,2}\Z|"
    r"(?:性|度|方面|维度|一项|部分|角度|层面|环节|(?<![总整]体)(?<!综合)(?<!基础)上)"
    r"(?:上|来[说看讲]|而言)?(?:我|也|可以?|应该?|能够?|只能?|会|均|都|仅){0,3}\Z",
)
_OF_ALL_PARTS = re.compile(r"标准|评分|分析|综合|总体|整体|各|多个?方面|[两三四五]个|以上|上述|全部|所有")
_OF_A_PART_EN = re.compile(
    r"\b(?<!based )(?:on|for|in terms of|regarding|as for|with respect to) "
    r"(?!balance|the whole|reflection|me\b|now\b|this|these|that|those|all|overall|it|"
    rf"(?:the )?(?:{RESPONSE_EN}|solution)\b)(?:the )?\w+(?: and \w+)?[,，]? "
    r"(?:I\b[^\n,.]{0,12})?\Z",
    re.IGNORECASE,
)
# Behind a score: it is turned down.
_TURNED_DOWN = re.compile(
    r"[ *_\]分]{0,6}(?:[^\n。，,;；]{0,4}(?:[太过偏][高低]|不合理|不妥|不当|的看法|的说法|才|即可|及?以上)|"
    r" ?(?:would be|is|seems) (?:too|un|not))|[ *_\],，]{0,4}(?:如果|若|要是|前提是|除非|只要)|"
    r"[ *_\],]{0,4}(?:if|had it|unless|once|provided)\b",
    re.IGNORECASE,
)
_ASKED_TO = re.compile(
    r"(?:让|使得?|要求|逼|诱导|[叫请求]|命令|迫使|希望|企图|试图|\b(?:want|ask|tell|get|make|force)(?:s|ed|ing)?)"
    r" ?(?:我|评委|评审|裁判|me|the judge)?(?:必须|应该?|要|会|能|来|去| to)? {0,3}\Z",
    re.IGNORECASE,
)
_OF_A_TASK = re.compile(r"(?:本|该|此|每)题(?:总分|满分|共|[^\n。；;，,]{0,4}分值)[^\n。；;]{0,40}\Z")
_OF_FULL_MARKS = re.compile(
    r"(?:如果|若|假设)?(?:以|按)?(?:满分[为是]? {0,3}10 {0,3}分?|(?:10|十) {0,3}分(?:满分|制))"
    r"(?:的话|[下里中来]看?)?[,，]|"
    r"(?:如果|若|要是)(?:非?要|让|一定要|必须)?我?来?(?:打分|评分|给分|[打给]个?分数?|量化)(?:的话)?[,，]|"
    r"\bif I (?:had|have|must|were)(?: to)?[^,\n]{0,40},",
    re.IGNORECASE,
)
_CLAUSE_LENGTH = 200
# What a judge may say between an overall label and the score: full marks, a grade, what it took off.
_LEAD = re.compile(
    r"[ *_(\[]{0,6}(?:满分[为是]? {0,3}10 {0,3}分?[,，; ]{0,3}|10 {0,3}分(?:[中里]的?|满分[,，; ]{1,3})|"
    r"(?:优秀?|良好?|中等?(?:偏?[上下])?|一般|较[好差高低]|很?[好差]|不错|合格|及格|[A-F][+-]?|"
    r"excellent|very good|good|fair|poor)"
    r"[ *_级]{0,4}(?:[\],，(: —-]{1,2}| ?(?=\[)) {0,3}|从 {0,3}[0-9.]{1,4} {0,3}分?[降减调改升提][^\n0-9,，。]{0,3}|"
    r"(?:没有|无)[^\n0-9,，。]{0,8}扣分[^\n0-9,，。]{0,4}[,，] {0,3}|"
    r"(?:(?:基础分?|起评分?|满分) {0,3}10 {0,3}分?[,，、] {0,3})?"
    r"(?:[^\n0-9。；;]{0,20}扣[除去掉了]{0,2} {0,3}[0-9.]{1,4} {0,3}分[,，、;； ]{1,3}){1,4})"
    rf"(?:最终|最后|共|故|因此|所以|我|[本该]{RESPONSE})?(?:(?:对应|相当于|即)(?:的?(?:分数|得分|评分))?(?:为|"
    r"是)?|得|给|打|评为?|为)?[到了]? {0,3}[*_]{0,4}",
    re.IGNORECASE,
)
_ALL_POINTS = re.compile(r"[ *_`(\[]{0,12}满分(?: {0,3}\(?10 {0,3}分?\)?)?[ *_`)\]]{0,12}(?=$|[\n。.!！])")
# Behind such words a score is spoken of.
_SPOKEN_OF = re.compile(r"[^\n。,，;；]{0,2}(?:这样的|之类|字样|这一?[句行段]|的(?:格式|指令|要求|说法|字))")
_OF_ALL = re.compile(r"总分 ?10 ?分?\)?")  # of how many points, not how many
_SUMS_UP = re.compile(
    r"(?P<label>(?:(?:总体|总的|综合|整体)(?:上|来[说看讲]|而言)|综上(?:所述)?|总之|综合考虑|据此|鉴于此|"
    r"overall|on balance|(?:to sum|summing) up|bottom line|tl;?dr|all in all|all things considered|"
    r"given (?:the above|all (?:this|that|of this))|"
    r"in (?:summary|conclusion|short)|(?<![^\n.])(?:so|thus|hence|therefore))"
    r"(?![^\n0-9。]{0,60}(?:结果|概率|比例|题))[^\n0-9。]{0,60}(?<![性度])[,，:] {0,3})",
    re.IGNORECASE,
)
_LAST_CLAUSE = re.compile(
    r"(?:[，,;；→]|[-=—]>|——| [-—–] )(?: ?(?:so|hence|thus|therefore)\b|所以|因此|故)? ?"
    r"(?=[*_]{0,3}[0-9]{1,2}(?:\.[0-9])? ?(?:/ ?10|分)[^，,\n]{0,8}\Z)"
)
_A_SHARE = re.compile(
    r"率|通过|答对|[题步道]正确|题|样例|用例|票|[0-9一二两三四五六七八九十百几多] ?[名个位]?人|"
    r"结果|比例|数值|(?:最终|标准)答案|性[^，,]{0,8}[，,]|度[^，,]{0,8}[，,]|"
    r"\b(?:tests?|cases?|correct|passed|passes|users?|probability|questions?|ratio|fraction|equals?)\b",
    re.IGNORECASE,
)
_SHORT = 8
_SENTENCE = re.compile(r"(?:[。!！]|\.(?= ))[ *_`]{0,12}")

_ROUNDED = re.compile(
    r"[,，;； (]{1,3}(?:四舍五入|取整|约等于|近似|rounded|rounds|rounding)"
    r"(?:取整)?(?:后|得|到|为|是|计为|记为| up| down| to| as|:| ){0,4}",
    re.IGNORECASE,
)
_INTO_TEN = re.compile(
    r"[^\n0-9]{0,8}(?:(?:折合|换算|折算|转换|转化|相当于|按)[成为到]?)[^\n0-9]{0,6}(?:(?:10|十)分制)[^\n0-9]{0,10}?"
    r"[ *_为是得即:=,，]{0,6}|[^\n0-9]{0,12}\b(?:converted|scaled|equivalent)(?: to)?[^\n0-9]{0,20}[: ]",
    re.IGNORECASE,
)
_RATES = re.compile(
    r"满分|(?:it|this)(?: is|['’]s) an? *\Z|rat(?:e|ing)\b|.{0,60}\b(?:score|rating) (?:of|as) *\Z|"
    rf"(?:{RESPONSE_EN}|it|this)\b[^\n]{{0,40}} (?:get|receive|deserve|earn|merit|score|warrant)s? an?\b"
    r"[^\n]{0,24}\Z|"
    r"I\b[^\n]{0,20} (?:go with|settled?|stick with|landed|land|put|lean towards?)\b",
    re.IGNORECASE,
)
_I = re.compile(r"\bI(?: (?:would|will|am|have|only|can|therefore|thus)|['’](?:d|ll|m|ve))* *\Z", re.IGNORECASE)
# Of a score that fits: "8分比较合适", "8/10 seems fair".
_FITS = re.compile(
    r"(?<![0-9./-~～至到])[\[*_]{0,3}[0-9]{1,2}(?:\.[0-9])?[\]*_]{0,3} ?(?:分|/ ?10|out of 10)[*_]{0,3} ?" + FITS,
    re.IGNORECASE,
)
_REASONS = re.compile(
    r"[ *_。.]{0,9}\s{0,9}[*_#(]{0,6}(?:理由|原因|说明|解释|分析|评语|reason|explanation|justification|rationale)", re.I
)
_LINE_ENDS = re.compile(r"[ *_`|。.!！]{0,40}(?:\n|\Z)")
_LINE_ENDS_REMARKED = re.compile(
    r"[ *_`|]{0,40}(?:\([^()\n]{1,40}\)|[,，、;；—–-][^\n0-9]{1,24}(?:10 {0,3}分?)?)?[ *_`|。.)]{0,40}(?:\n|\Z)"
)
_FITTING = re.compile(
    r"[ *_]{0,6}(?:(?:比较|较为?|更为?|是|应该|算){0,2}(?:合适|合理|恰当|公允|妥当)的?(?:评分|"
    r"分数)?)?[ *_`|。.]{0,40}(?:\n|\Z|(?<=[。.])|(?<=\. ))"
)
_WITH_POINTS = re.compile(r"分|/|points?|out of", re.IGNORECASE)
_ALONE = re.compile(
    r"[ *_#>`~|$:→=—–-]{0,12}"
    r"(?:(?:(?:an?|overall|solid|strong|good|decent|fair|weak|poor) ){1,3}"
    r"(?=[*_]{0,3}[0-9]{1,2}(?:\.5)? {0,3}(?:/|out of)))?"
    r"(?:(?:优秀?|良好?|中等?|合格|及格) {0,3}(?=\())?"
    r"(?=[\[{(<*_$`]|[0-9]{1,2}(?:\.[0-9])? {0,6}(?:分|/|out of|\((?:满分|总分))|"
    r"[一二三四五六七八九十](?:点五)? ?分)",
    re.IGNORECASE,
)
_FROM_ME = re.compile(r"\A {0,3}(?:吧|from me|for me|overall|[,，;；(]? {0,3}(?:满分|总分)[为是]? {0,3}10 {0,3}分?\)?)")
# The last line may be a bare number where a paragraph ends before it that announces nothing.
_ANOTHER_ANSWER = re.compile(
    r"(?:[是为]|(?<![=\n])=|(?:答案|概率|结果|值|比例|answer|probability|result|value|"
    r"ratio)[^\n]{0,8}:)[ *_]{0,6}\n\s*\Z",
    re.IGNORECASE,
)
_BARE_AT_LAST = re.compile(r"[ *_#>`:→=-]{0,12}(?=[0-9一二三四五六七八九十])")
_CONCLUDED = re.compile(r"(?:[。.!！?？)\]|]|\n-{3,}|\n\*{3,})[ *_]{0,6}\n\s*\Z")
_FIRST = re.compile(r"[ *_`]{0,6}(?:[。:,，;；](?=[^\n])| ?[-–—]{1,2} |[。.]?\n{2,}(?=[^\n]))")
_BRACKETED = re.compile(r"\[ {0,3}[0-9]")
_GOES_ON = re.compile(r" {1,3}(?:The|This|It|该|这|本|此)")
_EMPHASIZED = re.compile(r" {0,3}(?:\*\*|#{1,4} )\[?[0-9]{1,2}(?:\.[0-9])?\]?(?:\*\*)? {0,3}\n")
_POINTED = re.compile(r"[0-9] {0,3}(?:分|/ ?[0-9])")
_ASIDE = re.compile(r"\((?:满分|总分)[^()]{0,12}\)")
_OPENED = re.compile(r"[^0-9一-十]*[\[({<]")
_RULE = re.compile(r"^ {0,6}(?:```\w{0,20}|~~~\w{0,20}|-{3,}|\*{3,}|_{3,}|={3,}) {0,6}$", re.MULTILINE)
# Words with which a judge takes its leave.
_CLOSING = re.compile(
    r"^[ *_>(]{0,6}(?:以上(?![^\n]{0,20}(?:原文|"
    rf"{RESPONSE}))|"
    r"希望|如有|如需|如果您|感谢|谢谢|欢迎|完毕|评[审价分估](?:完毕|结束)|仅供参考|"
    r"(?:I )?hope\b|let me know|feel free|please let|thank)[^\n0-9]{0,80}$",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w|[\[(]")


def labelled(said: str, *, overall: bool) -> Iterator[Found]:
    """Scores behind a label: of the overall score, wherever it stands; or a plain one where a clause begins."""
    for label in (OVERALL_LABEL if overall else PLAIN_LABEL).finditer(said):
        start = label.start("label")
        broken = bool(label["line"])
        found = value(said, label.end(), bare=not broken)
        if (found is None and broken) or (found is not None and "|" in (label["line"] or "")):
            found = value(said, label.end(), bare=True)  # without brackets it must fill the next line; so in a table
            if found is not None and not _LINE_ENDS_REMARKED.match(said, found.end):
                found = None
        if (row := in_row(said, start)) is not None:
            found = row
        if (
            found is not None
            and found.reason == "other-scale"
            and (into := _INTO_TEN.match(said, found.end)) is not None
        ):
            found = value(said, into.end(), bare=True) or found
        if found is not None and (rounded := _ROUNDED.match(said, found.end)) is not None:
            found = value(said, rounded.end(), bare=True) or found
        if found is None and not broken:
            found = _led(said, label.end())
        if found is None or (found.number == SCALE and _OF_ALL.fullmatch(said[start : found.end])):
            continue
        if _SPOKEN_OF.match(said, found.end) or _TURNED_DOWN.match(said, found.end):
            continue
        if not any(_of_another(said, at) for at in {start, label.start()}):
            yield found._replace(start=start, phrase=said[start : found.end])


def _of_another(said: str, at: int) -> bool:
    """Whether what stands before a place makes a score there another's, or none that is given."""
    near = said[max(0, at - 48) : at]
    return bool(_OTHER.search(near) or _WANTED.search(near)) or told_of(said[max(0, at - _CLAUSE_LENGTH) : at])


def _led(said: str, at: int) -> Found | None:
    """A score behind an overall label and a few words more: 满分10分，得8分; 良好（8分）; 扣2分，得8分; 满分."""
    if (full := _ALL_POINTS.match(said, at)) is not None:
        return Found(SCALE, None, at, full.end(), full[0])
    lead = _LEAD.match(said, at)
    if lead is None or _thought_of(lead[0].replace("满分", "")):
        return None
    found = value(said, lead.end(), bare=True, strict=True)
    return found if found is not None and (_WITH_POINTS.search(found.phrase) or CLOSED.search(found.phrase)) else None


def given(said: str) -> Iterator[Found]:
    """Scores that a sentence of the last line gives: "I rate it [8]", 我给出 [8] 分."""
    for verb in _GIVES.finditer(said, _last_line(said)):
        if not BARE.search(said, verb.end(), verb.end() + 40):
            continue
        before = said[max(0, verb.start() - _CLAUSE_LENGTH) : verb.start()]
        if not _is_given(before) or ("，" in verb[0] and (tells(verb[0]) or _thought_of(verb[0].replace("满分", "")))):
            continue
        found = value(said, verb.end(), bare=False)
        if found is None:
            found = value(said, verb.end(), bare=True)
            if found is not None and not (
                _WITH_POINTS.search(found.phrase) or _RATES.match(verb[0]) or _I.search(before)
            ):
                found = None
        if found is not None and not _TURNED_DOWN.match(said, found.end):
            yield found._replace(start=verb.start(), phrase=said[verb.start() : found.end])
    yield from _at_last(said)
    for fit in _FITS.finditer(said, _last_line(said)):
        found = value(said, fit.start(), bare=True, strict=True)
        before = said[max(0, fit.start() - _CLAUSE_LENGTH) : fit.start()]
        if found is not None and _WITH_POINTS.search(found.phrase) and _is_given(before):
            yield found
    for verb in _SUMS_UP.finditer(said, _last_line(said)):
        found = value(said, verb.end(), bare=True, strict=True)
        if found is None or not (_FITTING.match(said, found.end) or _LINE_ENDS_REMARKED.match(said, found.end)):
            continue
        if not _WITH_POINTS.search(found.phrase) and (len(verb[0]) > _SHORT or not CLOSED.search(found.phrase)):
            continue
        if not _thought_of(verb[0]) and not _of_another(said, verb.start()):
            yield found._replace(start=verb.start(), phrase=said[verb.start() : found.end])


def _thought_of(words: str) -> bool:
    """Whether words within a sentence make its score one that is not given."""
    return bool(_SUPPOSED.search(words) or _HELD_BACK.search(words))


def _is_given(before: str) -> bool:
    """Whether what stands before a score lets it be the judge's own, and that of the whole response."""
    clause = _OF_FULL_MARKS.sub("", CLAUSE.split(before)[-1])
    breath = re.split(r"[，,?？:]", clause)[-1]
    return not (
        _WANTED.search(before[-48:])
        or _ASKED_TO.search(before)
        or _OF_A_TASK.search(before)
        or _SUPPOSED.search(clause)
        or _HELD_BACK.search(breath)
        or _OF_OTHERS.search(breath)
        or (_OF_A_PART.search(clause) and not _OF_ALL_PARTS.search(clause))
        or _OF_A_PART_EN.search(clause)
        or told_of(before)
    )


def _at_last(said: str) -> Iterator[Found]:
    """A score with its points that is all of the last sentence: "Clear and complete. 8/10", 回答完整。8分。"""
    line = _last_line(said)
    end = len(said.rstrip(" *_`\n。.!！"))
    starts = [mark.end() for mark in _SENTENCE.finditer(said, line, end)]
    clause = _LAST_CLAUSE.search(said, line, end)
    at_comma = clause is not None and not _POINTED.search(said[: clause.start()])  # nothing else there has points
    if clause is not None and at_comma and not _A_SHARE.search(said[line:end]):
        starts.append(clause.end())
    if not starts or not said[line : starts[-1]].strip(" !！。.*_"):
        return
    found = value(said, starts[-1], bare=True, strict=True)
    if found is None or not _WITH_POINTS.search(found.phrase) or not _LINE_ENDS.match(said, found.end):
        return
    before = said[max(line, starts[-1] - _CLAUSE_LENGTH) : starts[-1]].rstrip("。.!！，, *_`")
    last = CLAUSE.split(_OF_FULL_MARKS.sub("", before + "，"))[-1]
    supposed = at_comma and (_SUPPOSED.search(last) or (_OF_A_PART.search(last) and not _OF_ALL_PARTS.search(last)))
    if before[-1:].strip() and not tells(before) and not supposed:
        yield found


def alone(said: str) -> Iterator[Found]:
    """The last line, where it holds a score and nothing else; or the first, where reasons follow."""
    text = said.rstrip()
    opening = _ALONE.match(text)
    found = value(text, opening.end(), bare=True, strict=True) if opening is not None else None
    if found is not None and (_REASONS.match(text, found.end) or _begins(text, found)):
        yield found
    last = _last_line(said)
    if _ANOTHER_ANSWER.search(text, max(0, last - _CLAUSE_LENGTH), last):
        return
    for begins in (
        (_ALONE, _BARE_AT_LAST) if _CONCLUDED.search(text, max(0, last - _CLAUSE_LENGTH), last) else (_ALONE,)
    ):
        opening = begins.match(text, last)
        if opening is None:
            continue
        found = value(text, opening.end(), bare=BARE.match(text, opening.end()) is not None, strict=True)
        if found is None:  # **8**/10
            found = value(text, opening.end(), bare=True, strict=True)
            found = found if found is not None and _WITH_POINTS.search(found.phrase) else None
        if found is None or bool(_OPENED.match(found.phrase)) != bool(CLOSED.search(_ASIDE.sub("", found.phrase))):
            continue
        if GLUED.match(text, found.end):
            yield found._replace(number=None, reason="glued")
        elif not _WORD.search(_RULE.sub("", _FROM_ME.sub("", text[found.end :], 1))):
            yield found
        return


def _begins(text: str, found: Found) -> bool:
    """Whether a score with its points begins a text that goes on in prose and has no other one."""
    if CLOSED.search(found.phrase) and _GOES_ON.match(text, found.end):
        return not (_BRACKETED.search(text, found.end) or _POINTED.search(text, found.end))
    if _EMPHASIZED.match(text) is None and _WITH_POINTS.search(found.phrase) is None:
        return False
    return _FIRST.match(text, found.end) is not None and not _POINTED.search(text, found.end)


def closed(said: str) -> str:
    """The text without the words with which a judge takes its leave."""
    return _CLOSING.sub(lambda line: line[0] if called_example(line[0]) else "", said).rstrip()


def _last_line(said: str) -> int:
    """Where the last line begins that is no fence and no rule."""
    text = _CLOSING.sub(lambda line: " " * len(line[0]), _RULE.sub(lambda rule: " " * len(rule[0]), said)).rstrip()
    return text.rfind("\n") + 1
