"""The words of the demonstration: plain data, no code, importable without anything installed.

espeak-ng reads Mandarin character by character, so a character with two readings always gets its
most common one.  Words where that would be wrong to the ear (重庆, 银行, 音乐) are left out.
"""

# Names in groups whose members sound exactly alike: the same pinyin with the same tones.  A recogniser
# cannot tell them apart by ear, only by knowing which of them is meant (hotwords, a contact list).
NAME_GROUPS: tuple[tuple[str, ...], ...] = (
    ("张伟", "章伟", "张炜", "章玮"),
    ("李静", "李婧", "李靖"),
    ("王芳", "王方"),
    ("刘洋", "刘阳", "刘扬", "刘杨"),
    ("陈辰", "陈臣", "陈尘"),
    ("赵磊", "赵蕾", "赵垒"),
    ("周杰", "周洁", "周捷", "周婕"),
    ("徐丽", "徐莉", "徐立", "徐力"),
    ("孙悦", "孙越", "孙岳"),
    ("郭峰", "郭锋", "郭枫", "郭丰"),
    ("林琳", "林霖", "林临"),
    ("何平", "何萍", "何屏"),
    ("余欣", "于欣", "于鑫", "俞昕"),
    ("程宇", "程羽", "成宇", "程雨"),
    ("吴勇", "吴咏", "吴泳"),
    ("马俊", "马骏", "马峻"),
    ("冯涛", "冯韬", "冯滔"),
    ("唐颖", "唐影", "唐颍"),
    ("沈博文", "沈伯文", "沈博闻"),
    ("梁思雨", "梁思羽", "梁思宇"),
    ("高志强", "高智强", "高治强"),
    ("杨晓燕", "杨小燕", "杨晓艳", "杨小艳"),
)

# Names that sound like no other name here.
PLAIN_NAMES = ("谢刚 韩雪 曹毅 邓超 彭亮 苏菲 蒋文 蔡明 田野 潘虹 董健 袁华 叶青 杜鹃 丁宁 魏强 罗兰 宋佳").split()

TITLES = (
    "经理 总监 主任 老师 医生 律师 同学 先生 女士 教授 秘书 主管 组长 工程师 设计师 助理 顾问 会计 司机 护士"
).split()

CITIES = (
    "北京 上海 广州 深圳 杭州 南京 苏州 成都 武汉 西安 天津 青岛 大连 厦门 长沙 郑州 昆明 沈阳 济南 福州 "
    "合肥 南昌 贵阳 海口 兰州 西宁 太原 宁波 无锡 香港 澳门 台北 东京 伦敦 巴黎 纽约 柏林 悉尼"
).split()

PLACES = (
    "会议室 办公室 报告厅 休息室 图书馆 体育馆 火车站 飞机场 地铁站 停车场 医院 学校 公司 酒店 餐厅 超市 "
    "商场 公园 工厂 仓库 前台 食堂 大厅 教室 实验室 咖啡厅 博物馆 电影院 展览馆 邮局 警察局 健身房"
).split()

DEPARTMENTS = (
    "市场部 销售部 技术部 财务部 人事部 法务部 采购部 客服部 研发部 生产部 运营部 行政部 质检部 物流部"
).split()

TOPICS = (
    "预算 合同 项目 方案 报告 进度 计划 需求 产品 质量 安全 培训 招聘 价格 广告 客户 投诉 库存 设备 网络 "
    "系统 软件 接口 数据 模型 算法 测试 文档 流程 制度 绩效 工资 福利 税务 发票 账单 订单 物流 供应商 合作 "
    "品牌 渠道 战略 目标 风险 成本 利润 股票 投资 融资 专利 商标 版权 法律 环境 能源 交通 教育 医疗 农业"
).split()

DOCUMENTS = (
    "文件 邮件 表格 简历 名单 图片 视频 录音 笔记 幻灯片 说明书 申请表 会议纪要 证书 护照 日程表 通知 备忘录 清单 合影"
).split()

DEVICES = (
    "电灯 空调 电视 窗帘 音箱 风扇 冰箱 洗衣机 热水器 电饭煲 扫地机 投影仪 打印机 摄像头 门锁 闹钟 电脑 "
    "手机 麦克风 路由器 台灯 充电器 键盘 鼠标 屏幕 加湿器 净化器 微波炉 烤箱 耳机"
).split()

ROOMS = "客厅 卧室 厨房 书房 阳台 浴室 车库 花园 走廊 地下室".split()

APPS = (
    "日历 地图 相册 天气 计算器 浏览器 收音机 播放器 备份 导航 蓝牙 无线网 飞行模式 手电筒 录音机 "
    "词典 游戏 钱包 通讯录 邮箱"
).split()

FOODS = (
    "米饭 面条 饺子 包子 牛肉 鸡蛋 苹果 香蕉 西瓜 葡萄 咖啡 牛奶 果汁 红茶 绿茶 蛋糕 面包 豆腐 青菜 土豆 "
    "番茄 黄瓜 鱼汤 披萨 火锅 烤鸭 冰淇淋 巧克力 橙子 草莓"
).split()

GOODS = (
    "衣服 鞋子 帽子 雨伞 书包 眼镜 手表 钥匙 毛巾 牙刷 椅子 桌子 沙发 杯子 盘子 铅笔 本子 电池 灯泡 "
    "礼物 鲜花 玩具 箱子 地毯"
).split()

WEATHER = "晴天 阴天 多云 小雨 大雨 暴雨 小雪 大雪 大风 台风 雾霾 冰雹 雷阵雨 沙尘暴 高温 降温".split()

ADJECTIVES = (
    "重要 紧急 简单 复杂 清楚 漂亮 便宜 昂贵 安静 热闹 干净 新鲜 舒服 方便 危险 有趣 精彩 完整 准确 稳定 "
    "满意 高兴 辛苦 仔细 严格 公平 透明 灵活 成熟 先进"
).split()

ADVERBS = (
    "马上 立刻 已经 正在 一定 可能 大概 必须 应该 尽快 继续 重新 临时 单独 全部 提前 准时 暂时 首先 最后"
).split()

CONNECTIVES = "但是 所以 因为 如果 然后 而且 虽然 不过 另外 其实 同时 比如 总之 接着".split()

PEOPLE = ("我们 你们 他们 大家 领导 同事 朋友 家人 爸爸 妈妈 孩子 哥哥 姐姐 邻居 专家 学生 员工 老板 记者 观众").split()

MEETING_VERBS = (
    "讨论 检查 确认 修改 提交 审核 介绍 总结 分析 评估 安排 解决 说明 汇报 研究 调整 推进 优化 完善 "
    "公布 批准 取消 推迟 准备"
).split()

FILE_VERBS = "发送 打印 删除 保存 下载 上传 复制 整理 翻译 分享 查找 签字 归档 转发 备注 扫描".split()

DEVICE_VERBS = "打开 关闭 启动 停止 重启 暂停 恢复 连接 断开 锁定".split()

FREE_WORDS = (
    "世界 国家 社会 文化 历史 科学 艺术 经济 政府 人民 时间 问题 办法 原因 结果 情况 机会 经验 关系 意见 "
    "作用 条件 影响 水平 能力 思想 精神 感觉 态度 习惯 决定 希望 努力 帮助 支持 反对 参加 组织 建设 发展 "
    "改变 提高 增加 减少 保护 使用 发现 创造 表示 认为 知道 喜欢 相信 忘记 记得 学习 工作 生活 休息 运动 "
    "旅游 比赛 足球 篮球 游泳 跑步 跳舞 唱歌 画画 读书 写字 太阳 月亮 星星 天空 大海 河流 高山 森林 草原 "
    "动物 植物 老虎 狮子 大象 猴子 熊猫 兔子 小狗 花猫 春天 夏天 秋天 冬天 早饭 午饭 晚饭 身体 健康 感冒 "
    "药品 头疼 眼睛 耳朵 鼻子 声音 颜色 红色 黄色 蓝色 黑色 白色 绿色 左边 右边 前面 后面 里面 外面 中间 "
    "旁边 城市 农村 街道 桥梁 房子 楼梯 窗户 墙壁 汽车 火车 飞机 轮船 自行车 地铁 出租车 警察 士兵 "
    "语言 汉语 英语 数学 物理 化学 地理 新闻 故事 小说 诗歌 电影 电话 号码 密码 地址 姓名 年龄 性别 职业"
).split()

WEEKDAYS = "星期一 星期二 星期三 星期四 星期五 星期六 星期日 周一 周二 周三 周四 周五 周末".split()
DAYS = "今天 明天 后天 昨天 前天 大后天".split()
SPANS = "上周 下周 本周 上个月 下个月 这个月 去年 今年 明年 年底 月初".split()
DAY_PARTS = "早上 上午 中午 下午 傍晚 晚上 凌晨 半夜".split()
UNITS = "个人 公里 公斤 平方米 分钟 小时 岁 页 米 块钱 元 次 台 件 辆 瓶 箱".split()

WORD_LISTS: tuple[list[str], ...] = (
    PLAIN_NAMES, TITLES, CITIES, PLACES, DEPARTMENTS, TOPICS, DOCUMENTS, DEVICES, ROOMS, APPS, FOODS,
    GOODS, WEATHER, ADJECTIVES, ADVERBS, CONNECTIVES, PEOPLE, MEETING_VERBS, FILE_VERBS, DEVICE_VERBS,
    FREE_WORDS, WEEKDAYS, DAYS, SPANS, DAY_PARTS, UNITS,
)  # fmt: skip
