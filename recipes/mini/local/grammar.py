"""The sentences of the mini corpus: short Mandarin commands, numbers, dates, times and places.

A template is a list of slots and words separated by spaces; a slot in braces is replaced by one of its fillers, which
may hold slots themselves. Words stay separated by spaces, as in AISHELL-1's transcript.
"""

from comflp.errors import ComflpError

MOST_SENTENCES = 20_000

SLOTS = {
    "digit": "一 二 三 四 五 六 七 八 九 零".split(),
    "small": "三 四 五 六 七 八 九".split(),
    "month": "一 二 三 四 五 六 七 八 九 十 十一 十二".split(),
    "day": "三 五 八 九 十 十一 十四 十六 二十 二十二 二十七 三十".split(),
    "hour": "两 三 四 六 七 八 九 十 十一 十二".split(),
    "weekday": "一 二 三 四 五 六 天".split(),
    "date": "今天 明天 昨天 后天".split(),
    "part": "早上 上午 中午 下午 晚上".split(),
    "clock": ["{hour} 点", "{hour} 点 半", "{hour} 点 一刻", "{hour} 点 {small} 分"],
    "amount": ["{small} 百", "{small} 十 {small}", "两 千", "{small} 万"],
    "city": "北京 上海 广州 南京 西安 杭州 成都 武汉".split(),
    "place": "火车站 机场 医院 学校 公园 超市 酒店 银行 图书馆".split(),
    "room": "客厅 卧室 厨房 书房".split(),
    "device": "灯 空调 电视 窗帘 音箱 风扇 冰箱".split(),
    "switch": "打开 关闭".split(),
    "person": "妈妈 爸爸 哥哥 姐姐 弟弟 老师 朋友".split(),
    "activity": "起床 开会 睡觉 跑步 看书 回家 学习 出门".split(),
    "weather": "下雨 下雪 很冷 很热 多云 大风".split(),
    "food": "米饭 面条 苹果 牛奶 咖啡 绿茶 鸡蛋".split(),
    "unit": "斤 杯 份".split(),
    "vehicle": "地铁 飞机 出租车".split(),
    "music": "音乐 新闻 故事".split(),
    "color": "红色 黄色 蓝色 黑色 白色".split(),
    "thing": "帽子 雨伞 手机".split(),
}

# Each is drawn equally often; those that say one thing in two ways do so to make their words frequent.
TEMPLATES = [
    "{switch} {room} 的 {device}",
    "请 {switch} {room} 的 {device}",
    "{switch} {color} 的 {device}",
    "把 {device} 调 到 {small} 十 度",
    "{date} {part} {clock} {activity}",
    "提醒 我 {clock} {activity}",
    "星期 {weekday} {part} {activity}",
    "{month} 月 {day} 号 {activity}",
    "今天 是 {month} 月 {day} 号",
    "{city} {date} {weather} 吗",
    "{date} {part} {city} {weather}",
    "电话 是 {digit} {digit} {digit} {digit} {digit}",
    "房间 {digit} {digit} {digit} {digit}",
    "从 {city} 到 {city} 的 {vehicle}",
    "{person} 坐 {vehicle} 去 {city}",
    "我 想 坐 {vehicle} 去 {place}",
    "{person} 在 {city} {place}",
    "{city} {place} 怎么 走",
    "离 {place} 还 有 {amount} 米",
    "{part} 给 {person} 打 电话",
    "告诉 {person} {clock} {activity}",
    "{person} 喜欢 {color} 的 {thing}",
    "{person} 的 {thing} 忘 在 {place} 了",
    "给 {person} 买 {small} {unit} {food}",
    "{small} {unit} {food} {amount} 元",
    "{clock} 播放 {person} 的 {music}",
    "播放 {date} {part} 的 {music}",
]


def draw_sentence(rng):
    """One sentence, words separated by spaces; ``rng`` is a numpy Generator.

    >>> import numpy as np
    >>> draw_sentence(np.random.default_rng(0)) == draw_sentence(np.random.default_rng(0))
    True
    """
    words = TEMPLATES[rng.integers(len(TEMPLATES))].split()
    while any(word.startswith("{") for word in words):
        filled = []
        for word in words:
            if word.startswith("{"):
                fillers = SLOTS[word[1:-1]]
                filled += fillers[rng.integers(len(fillers))].split()
            else:
                filled.append(word)
        words = filled
    return " ".join(words)


def draw_sentences(count, rng, min_characters=4, max_characters=10):
    """``count`` different sentences of a length in characters within the bounds, in the order drawn.

    Raises ComflpError for more than ``MOST_SENTENCES``: it becomes a long search for one that was not drawn yet.
    """
    if count > MOST_SENTENCES:
        raise ComflpError(f"the grammar makes {MOST_SENTENCES:,} different sentences at most; {count:,} are asked for")
    sentences = {}
    while len(sentences) < count:
        sentence = draw_sentence(rng)
        if min_characters <= len(sentence.replace(" ", "")) <= max_characters:
            sentences.setdefault(sentence)
    return list(sentences)
