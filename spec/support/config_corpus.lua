--- Configuration files, right and mistaken, for the spec that a JSON Schema agrees with mlua: their
-- text as YAML, and the parameters that they are for.
local ml = require "mlua"
local param, registry = ml.param, ml.registry

local corpus = {}

registry.new("dish", "dishes", "what a kitchen makes")
registry.register("dish", "soup", {
  doc = "from a pot",
  minutes = param.int { 30, min = 1, max = 240, unit = "minutes", doc = "on the stove" },
  herbs = param.strings { { "dill" } }, salt = param.number { 1, min = 0 }, hot = param.bool {},
}, function() end)
registry.register("dish", "menu", {
  courses = param.dishes { { "soup" }, length = { 1, math.huge } }, first = param.dish { "soup" },
  price = param.number { required = true, above = 0 }, for_two = param.bool {},
  wine = { year = param.int { 2000, min = 1900 } },
}, function() end)

--- The parameters: every kind, with ranges, sections, other spellings and parts.
function corpus.spec()
  return param.spec {
    batch = param.int { 128, min = 1, alias = "mini_batch", doc = "samples a step" },
    lr = param.number { 0.1, above = 0, max = 10, doc = "learning rate", unit = "1/step" },
    offset = param.int { 0 }, share = param.number { 0.5, min = 0, below = 1 },
    shuffle = param.bool { true }, name = param.string { "a" }, where = param.path { "" },
    top = param.ints { { 4, 2 }, min = 1 }, pair = param.ints { { 1, -1 }, length = 2 },
    betas = param.numbers { { 0.9, 0.999 }, length = { 1, 3 }, min = 0, below = 1 },
    tags = param.strings { {} }, two_tags = param.strings { { "a", "b" }, length = { 2, 3 } },
    loss = param.choice { "bce", "mse", "l1.5" }, level = param.choice { "auto", "1", "true" },
    day = param.date { min = "2024-02-10", max = "2031-10-09" }, device = param.device { "auto" },
    model = { dim = param.int { 16 }, deep = { width = param.int { 8, min = 2 } } },
    ["my-part"] = { a_b = param.int { 1, min = 0 } },
    main = param.dish { "soup" }, meals = param.dishes { {} },
    courses = param.dishes { { "soup", "soup" }, length = { 2, math.huge } },
    half = param.number { 1, alias = { double = function(s) return tonumber(s) / 2 end } },
    secret = param.int { 3, min = 0, hidden = true },
  }
end

--- Files on which mlua and the schema agree.
corpus.agreed = {
  "my-part: {a_b: 3}\n", "my_part: {a-b: 3}\n", "my_part: {a_b: -3}\n", "my_prt: {a_b: 3}\n",
  "my_part: 3\n", "my-part.a-b: 3\n", "my_part.a_b: x\n",
  -- nothing, and integers
  "", "# later\n", "batch: 32\n", "batch: 3.0\n", "batch: 1e3\n", "batch: +7\n", "batch: 007\n",
  "batch: 1.5\n", "batch: 15e-1\n", "batch: 0\n", "batch: -1\n", "batch: 1e17\n", "batch: many\n",
  "batch:\n", "batch: ~\n", "batch: null\n", "batch: true\n", "batch: [1]\n", "batch: {a: 1}\n",
  "batch: 1_000\n", "batch: 1:30\n", "batch: ''\n", "batch: 3 4\n", "batch: '3'\n",
  "offset: -9007199254740992\n", "offset: 9007199254740994\n", "offset: -3\n", "secret: 4\n",
  "secret: -4\n",
  -- numbers
  "lr: 1e-3\n", "lr: .5\n", "lr: 5.\n", "lr: 0\n", "lr: 10\n", "lr: 10.5\n", "lr: fast\n",
  "lr: nan\n", "lr: '0.1'\n", "lr: yes\n", "lr: false\n", "lr: 1,2\n", "share: 0\n", "share: 1\n",
  "share: 0.999\n", "share: -0.1\n", "share: [0.5]\n",
  -- flags
  "shuffle: true\n", "shuffle: False\n", "shuffle: no\n", "shuffle: YES\n", "shuffle: oN\n",
  "shuffle: tRuE\n", "shuffle: 1\n", "shuffle: 0\n", "shuffle: 2\n", "shuffle: maybe\n",
  "shuffle: 'true'\n", "shuffle: '1'\n", "shuffle:\n", "shuffle: [yes]\n", "shuffle: {}\n",
  "shuffle: y\n", "shuffle: yess\n",
  -- text
  "name: 007\n", "name: yes\n", "name: true\n", "name: ''\n", "name: \"a b\"\n", "name:\n",
  "name: [a]\n", "name: {a: b}\n", "where: /tmp\n", "where: 3\n", "where: [x]\n",
  "name: |\n  two\n  lines\n",
  -- choices, days, devices
  "loss: mse\n", "loss: l1.5\n", "loss: l1x5\n", "loss: msee\n", "loss: on\n", "loss: BCE\n",
  "loss: [bce]\n", "loss:\n", "loss: 3\n", "level: 1\n", "level: true\n", "level: auto\n",
  "level: 2\n", "level: false\n",
  "day: 2026-11-21\n", "day: 2024-02-29\n", "day: 2025-02-29\n", "day: 2026-13-01\n",
  "day: 2026-1-01\n", "day: 2024-02-09\n", "day: 2024-02-10\n", "day: 2031-10-09\n",
  "day: 2031-10-10\n", "day: 2100-02-29\n", "day: soon\n", "day: 2026\n", "day:\n",
  "device: cpu\n", "device: cuda:1\n", "device: 'cuda:'\n", "device: gpu\n", "device: 0\n",
  -- lists
  "top: [64, 32]\n", "top: 64-32\n", "top: 64,32\n", "top: 64, 32\n", "top: 64\n", "top: []\n",
  "top: {}\n", "top:\n", "top: [64, 0]\n", "top: 64-0\n", "top: 0\n", "top: 64,-1\n",
  "top: [1.5]\n", "top: 64-1.5\n", "top: 64-\n", "top: 64,\n", "top: a-b\n", "top: [a]\n",
  "top: [1-2, 3]\n", "top: [1, '2']\n", "top: '64'\n", "top: [[1], 2]\n", "top: [1, ~]\n",
  "top: {a: 1}\n", "top: 1e2-3\n", "top: [1e2, 3.0]\n", "top: true\n", "top: [true]\n",
  "pair: [1, 2]\n", "pair: [1]\n", "pair: [1, 2, 3]\n", "pair: 1-2\n", "pair: 1-2-3\n",
  "pair: 1\n", "pair: 1,-2\n", "pair: []\n", "pair: {}\n", "pair: -1,-2\n", "pair: -1-2\n",
  "betas: [0.9, 0.99]\n", "betas: 0.9\n", "betas: 0.9,0.99\n", "betas: 0.9-.99\n",
  "betas: 0.1,0.2,0.3\n", "betas: 0.1,0.2,0.3,0.4\n", "betas: [0.9, 1]\n", "betas: []\n",
  "betas: 1\n", "betas: [-0.1]\n", "betas: -0.1,0.1\n", "betas: x\n",
  "tags: [a, \"b c\", no]\n", "tags: a,b\n", "tags: a\n", "tags: 3\n", "tags: true\n",
  "tags: []\n", "tags: {}\n", "tags:\n", "tags: [a, ~]\n", "tags: [a, {}]\n", "tags: [[a]]\n",
  "tags: {a: b}\n", "tags: ''\n", "tags: [1, 2.5]\n",
  "two_tags: a,b\n", "two_tags: a\n", "two_tags: a,b,c\n", "two_tags: a,b,c,d\n", "two_tags: 3\n",
  "two_tags: [a, b]\n", "two_tags: [a]\n", "two_tags: ''\n", "two_tags: {}\n",
  -- sections, dots, other spellings
  "model:\n", "model: {}\n", "model: {dim: 4}\n", "model: {deep: {width: 2}}\n",
  "model: {deep: {width: 1}}\n", "model: {deep: }\n", "model: {deep: 3}\n", "model: 3\n",
  "model: [1]\n", "model: ${m}\n", "model: {dmi: 3}\n", "model: {deep: {dim: 3}}\n",
  "model.dim: 3\n", "model.dim: x\n", "model.deep.width: 4\n", "model.deep.width: 1\n",
  "model: {deep.width: 3}\n", "model: {deep.width: 1}\n", "model.deep: {width: 3}\n",
  "model.deep: {width: 1}\n", "model.deep:\n", "model.dmi: 3\n", "model.: 3\n", "Model: {dim: 3}\n",
  "mini_batch: 9\n", "mini-batch: 9\n", "mini-batch: 0\n", "minibatch: 9\n", "two-tags: [a, b]\n",
  "two-tags: [a]\n", "double: 4\n", "double: [4]\n", "double:\n",
  -- unknown keys
  "bach: 1\n", "Batch: 1\n", "__index: 1\n", "batch.x: 1\n", "x: {<: 1}\n", "type: soup\n",
  "true: 1\n", "3: 4\n", "lr: 1\nlrr: 2\n",
  -- references
  "half: ${batch}\n", "batch: 3\noffset: ${batch}\n", "name: n is ${batch}\n", "name: $${batch}\n",
  "offset: $${batch}\n", "macros: {m: 3}\nbatch: ${m}\n", "macros: {w: [1, 2]}\ntop: ${w}\n",
  "top: [1, '${batch}']\n", "day: ${name}\nname: 2026-01-01\n", "shuffle: ${secret}\nsecret: 1\n",
  "macros: {p: {type: soup, minutes: 3}}\nmain: ${p}\n", "macros:\n", "macros: 3\n",
  "macros: [a]\n", "macros: {a: {b: [1]}}\n", "model: {dim: '${batch}'}\n",
  "main: {minutes: '${batch}'}\n", "loss: ${name}\nname: mse\n",
  -- what stands beside the keys
  "recipe:\n", "recipe: [a]\n", "recipe: {a: 1}\n",
  "grid: {batch: [1, 2]}\n", "grid: {batch: [0]}\n", "grid: {batch: [x]}\n", "grid: {batch: []}\n",
  "grid: {batch: 1}\n", "grid: {batch: 0}\n", "grid: {batch: '1,2'}\n", "grid: {batch: '1,x'}\n",
  "grid: {bach: [1]}\n", "grid: [1]\n", "grid:\n", "grid: {}\n", "grid: {model.dim: [1]}\n",
  "grid: {model: {dim: [1]}}\n", "grid: {model.dim: [x]}\n", "grid: {top: [[1, 2], 3-4]}\n",
  "grid: {top: [[0]]}\n", "grid: {mini-batch: [1]}\n", "grid: {loss: [bce, mse]}\n",
  "grid: {loss: 'bce,mse'}\n", "grid: {loss: [bcd]}\n", "grid: {loss: 'bce,msd'}\n",
  "grid: {shuffle: [yes, no]}\n", "grid: {shuffle: 'yes,no'}\n", "grid: {shuffle: [maybe]}\n",
  "grid: {main.minutes: [2, 4]}\n", "grid: {main.minutes: [0]}\n", "grid: {main.minuts: [2]}\n",
  "grid: {main: [soup, {minutes: 4}]}\n", "grid: {main: [{minutes: 0}]}\n", "grid: {batch: }\n",
  "grid: {meals: [soup, [soup, soup], []]}\n", "grid: {batch: {a: 1}}\n", "grid: {day: 3}\n",
  "variants: {a: {batch: 1}, b: {}}\n", "variants: {a: {batch: 0}}\n", "variants: {a: {bach: 1}}\n",
  "variants: {a: 1}\n", "variants: {a: }\n", "variants: [a]\n", "variants:\n",
  "variants: {a: {model: {dim: x}}}\n", "variants: {a: {recipe: x}}\n",
  "variants: {a: {grid: {batch: [1]}}}\n", "variants: {a: {model.dim: 3}}\n",
  "variants: {a: {main: {minutes: 0}}}\n", "variants: {a: {main.minutes: 3}}\n",
  -- parts
  "main: soup\n", "main: {type: soup, minutes: 5}\n", "main: {type: soup, minutes: 0}\n",
  "main: {type: soup, minuts: 5}\n", "main: {type: soup, price: 5}\n", "main: {minutes: 7}\n",
  "main: {minutes: x}\n", "main: {mints: 7}\n", "main: {}\n", "main:\n", "main: 3\n",
  "main: true\n", "main: [soup]\n", "main: {type: [soup]}\n", "main: {type: }\n",
  "main: {type: 3}\n", "main: {type: soup, herbs: [a, b]}\n", "main: {type: soup, herbs: [[a]]}\n",
  "main: {type: soup, minutes: }\n", "main: {type: soup, hot: some}\n",
  "main: {type: menu, price: 2}\n", "main: {type: menu}\n", "main: {type: menu, price: 0}\n",
  "main: {type: menu, wine: {year: 1990}}\n", "main: {type: menu, wine: {year: 1800}}\n",
  "main: {type: menu, wine: {yaer: 1990}}\n", "main: {type: menu, wine.year: 1990}\n",
  "main: {type: menu, wine: }\n", "main: {type: menu, wine: 3}\n",
  "main: {type: menu, for-two: yes}\n", "main: {type: menu, for-two: 7}\n",
  "main: {type: menu, first: {minutes: 4}}\n", "main: {type: menu, first: {minutes: 0}}\n",
  "main: {type: menu, first.minutes: 4}\n", "main: {type: menu, first.minutes: 0}\n",
  "main: {type: menu, first: {type: menu, first: {type: soup, salt: -1}}}\n",
  "main: {type: menu, first: {type: menu, first: {type: soup, salt: 1}}}\n",
  "main: {type: menu, courses: [soup, {type: soup}]}\n", "main: {type: menu, courses: []}\n",
  "main: {type: menu, courses: [{minutes: 3}]}\n", "main: {type: menu, courses: }\n",
  "main: menu\nmain.price: 3\n", "main.minutes: 3\n", "main.minutes: 0\n", "main.minuts: 3\n",
  "main.minutes:\n", "meals: [soup]\nmeals.1.minutes: 3\n", "meals: [soup]\nmeals.1.minutes: 0\n",
  "meals: [soup]\nmeals.minutes: 3\n", "main: menu\nmain.first.minutes: 3\n",
  "main: menu\nmain.first.minuts: 3\n", "main: menu\nmain.courses.1.hot: on\n",
  "meals: []\n", "meals:\n", "meals: soup\n", "meals: soup,soup\n", "meals: [soup, ~]\n",
  "meals: [[soup]]\n", "meals: {type: soup}\n", "meals: {}\n", "meals: {minutes: 3}\n",
  "meals: [{minutes: 3}]\n", "meals: [{type: soup, minutes: 3}]\n", "meals: [3]\n", "meals: ','\n",
  "meals: [{type: soup, minutes: 300}]\n", "meals: '[soup, soup]'\n",
  "courses: [soup, soup]\n", "courses: [soup]\n", "courses: soup\n", "courses: soup,soup\n",
  "courses: 'soup,'\n", "courses:\n", "courses: {type: soup}\n", "courses: ','\n",
  -- parts under names of their own
  "dishes: {hot: {type: soup, minutes: 9}}\nmain: hot\n", "dishes:\n", "dishes: 3\n",
  "dishes: [soup]\n", "dishes: {a: soup}\n", "dishes: {a: }\n", "dishes: {a: [soup]}\n",
  "dishes: {a: {minutes: 3}}\n", "dishes: {a: {type: soup, minutes: 0}}\n",
  "dishes: {a: {type: soup, minuts: 3}}\n", "dishes: {a: soup}\nmain: {type: a, minutes: 3}\n",
  "dishes: {a: soup}\nmain: {type: a, minutes: 0}\n", "dishes: {a: soup}\nmeals: [a, soup]\n",
  "dishes: {a: menu}\nmain: {type: a, wine: {year: 1990}, for-two: yes, first.minutes: 3}\n",
  "dishes: {a: soup}\nmain: {type: a, nothing: 3}\n", "dish: {a: soup}\n", "models: {a: mlp}\n",
  "models: {a: {type: mlp, widths: [3]}}\n", "models: {a: {type: mlp, widths: [0]}}\n",
  "models: {a: {type: mlp, width: 3}}\n", "optimizers: {o: {type: sgd, lr: fast}}\n",
}

--- Mistakes that a schema cannot see, each with the reason.
corpus.unseen = {
  ["values are what a reader of YAML makes of a file, which has been read by then"] = {
    "lr: 1\nlr: 2\n", "model:\n\tdim: 3\n", "lr: !!float 1\n", "lr: *x\n", "top: [1, 2\n",
    "lr: 1\n---\nlr: 2\n", "[a, b]: 1\n",
  },
  ["quotes: a word in them is the same text without"] = {
    "shuffle: 'no'\n", "top: '64-32'\n", "pair: \"1,2\"\n",
  },
  ["numbers that YAML has, and mlua does not take, or not in that spelling"] = {
    "batch: 0x10\n", "lr: 0o7\n", "shuffle: 1.0\n", "level: 1.0\n", "level: True\n",
  },
  ["a key twice, under two spellings"] = {
    "batch: 1\nmini_batch: 2\n", "model: {dim: 1}\nmodel.dim: 2\n",
  },
  ["what a reference stands for"] = {
    "batch: ${none}\n", "batch: ${offset}\noffset: ${batch}\n", "batch: ${lr}\n", "batch: x${lr}\n",
    "macros: {m: '${m}'}\nbatch: ${m}\n", "grid: {batch: ['${offset}']}\n",
  },
  ["names that a file may give to parts"] = {
    "main: stew\n", "main: {type: stew}\n", "meals: [soup, stew]\n", "dishes: {a: b}\n",
    "dishes: {a: {type: a}}\n",
  },
  ["which part another place, or another file, has chosen"] = {
    "main: {price: 3}\n", "main.price: 3\n", "meals.1.minutes: 3\n",
    "dishes: {a: soup}\nmain: {type: a, price: 3}\n", "grid: {main.price: [3]}\n",
  },
  ["values of options of parts within parts, under keys with dots"] = {
    "main: menu\nmain.first.minutes: 0\n",
  },
  ["ranges in a text that stands for a list, but for the sign and 0"] = {
    "betas: 0.5,1.5\n", "top: 15e-1,2\n",
  },
  ["what the recipe's own functions take"] = { "double: x\n" },
}

--- Files that mlua takes and the schema refuses, each with the reason.
corpus.narrow = {
  ["a part under a name that looks like a number"] = { "dishes: {3: soup}\nmain: 3\n" },
  ["a zero with a sign, in a text of numbers from 0 on"] = { "betas: -0,0.5\n" },
}

return corpus
