--- Texts that Tide makes: reviews with a feeling, and pairs of sentences of two languages.
local check = require "tide.check"
local core = require "tide.core"
local draws = require "tide.datasets.draws"

local language = {}

local SEED = { "seed", "int", nil, "of all that is drawn; another one in every run when left out",
  min = 0, max = 0xffffffff }

local function words(text)
  local out = {}
  for word in text:gmatch "[^,%s][^,]*" do
    out[#out + 1] = word:match "^(.-)%s*$"
  end
  return out
end

-- ---- sentiment ----

local THINGS = words "film, book, meal, hotel, concert, game, phone, lamp, chair, trip, show, \z
  song, coffee, bag, story, play, room, museum, bike, course"
local PARTS = words "beginning, ending, price, service, sound, design, quality, staff, music, \z
  plot, view, weather, colour, idea, timing, cast"
local GOOD = words "wonderful, great, excellent, lovely, brilliant, charming, superb, delightful, \z
  perfect, fresh, clever, warm, stunning, honest"
local BAD = words "terrible, awful, boring, poor, dull, horrible, broken, cheap, annoying, cold, \z
  clumsy, tired, ugly, dishonest"
local PLAIN = words "red, small, old, new, long, wooden, quiet, large, round, second"
local STRONG = words "very, really, truly, quite, so, simply"
local LOVED = words "loved, enjoyed, adored, liked, recommend"
local HATED = words "hated, disliked, regret, resent, avoid"

-- Each gives a clause of a feeling (true: good); `not` turns a word of the other feeling round.
local clauses = {
  function(draw, good, thing)
    return ("the %s was %s %s"):format(thing, draw:pick(STRONG), draw:pick(good and GOOD or BAD))
  end,
  function(draw, good, thing)
    return ("the %s was not %s"):format(thing, draw:pick(good and BAD or GOOD))
  end,
  function(draw, good, thing)
    return ("i %s the %s %s"):format(draw:pick(good and LOVED or HATED), draw:pick(PLAIN), thing)
  end,
  function(draw, good)
    return ("the %s was %s"):format(draw:pick(PARTS), draw:pick(good and GOOD or BAD))
  end,
  function(draw, good)
    local word = draw:pick(good and GOOD or BAD)
    return ("what %s %s %s"):format(word:find "^[aeiou]" and "an" or "a", word, draw:pick(PARTS))
  end,
  function(draw, _, thing)
    return ("we bought the %s %s last year"):format(draw:pick(PLAIN), thing)
  end,
}

local sentiment_args = check.args("sentiment", {
  { "n_samples", "int", 1000, "texts", min = 1 },
  { "max_clauses", "int", 4, "in a text, one at least", min = 1, max = 32 },
  { "noise", "number", 0, "share of texts whose label is the wrong one", min = 0, max = 1 }, SEED })

--- Short reviews, half of them negative (0) and half positive (1), as imdb's labels are: a majority
--- of clauses has the feeling, among them negations ("was not dull"); some have none, some the
--- other one and are followed by a stronger "but".
---
---     local texts, y = tide.datasets.sentiment { 10, seed = 1 }
---     y:sum()   --> 5
--- @return table texts
--- @return userdata labels (n_samples) int64: 0 and 1
function language.sentiment(...)
  local o = sentiment_args:construct(...)
  local draw = draws(o.seed)
  local texts, labels = {}, {}
  local order = draw:order(o.n_samples)
  for i = 1, o.n_samples do
    local good = order[i] % 2 == 0
    local thing, parts = draw:pick(THINGS), {}
    for k = 1, draw:below(o.max_clauses) do
      parts[k] = clauses[draw:below(#clauses)](draw, good, thing)
    end
    if draw:below(4) == 1 then -- a concession, which does not decide
      parts[1] = clauses[3 + draw:below(2)](draw, not good, thing) .. " but "
        .. clauses[draw:below(2)](draw, good, thing)
    else -- one clause at least has a feeling
      parts[#parts] = clauses[draw:below(5)](draw, good, thing)
    end
    texts[i] = table.concat(parts, " and ") .. (draw:below(3) == 1 and " !" or " .")
    labels[i] = (good ~= (draw:uniform() < o.noise)) and 1 or 0
  end
  return texts, core.tensor(labels, { dtype = "int64" })
end

-- ---- translation ----

-- English noun and plural; German noun and plural, gender.
local NOUNS = {
  { "dog", "dogs", "hund", "hunde", "m" }, { "man", "men", "mann", "männer", "m" },
  { "tree", "trees", "baum", "bäume", "m" }, { "teacher", "teachers", "lehrer", "lehrer", "m" },
  { "cat", "cats", "katze", "katzen", "f" }, { "woman", "women", "frau", "frauen", "f" },
  { "lamp", "lamps", "lampe", "lampen", "f" }, { "flower", "flowers", "blume", "blumen", "f" },
  { "child", "children", "kind", "kinder", "n" }, { "house", "houses", "haus", "häuser", "n" },
  { "book", "books", "buch", "bücher", "n" }, { "horse", "horses", "pferd", "pferde", "n" },
}
-- English one, several; German third person, plural and infinitive.
local VERBS = {
  { "sees", "see", "sieht", "sehen" }, { "finds", "find", "findet", "finden" },
  { "buys", "buy", "kauft", "kaufen" }, { "loves", "love", "liebt", "lieben" },
  { "hears", "hear", "hört", "hören" }, { "seeks", "seek", "sucht", "suchen" },
}
local MODALS = { { "wants to", "want to", "will", "wollen" }, { "can", "can", "kann", "können" },
  { "must", "must", "muss", "müssen" } }
local ADJECTIVES = { { "small", "klein" }, { "big", "groß" }, { "old", "alt" }, { "new", "neu" },
  { "beautiful", "schön" }, { "red", "rot" } }
local TIMES = { { "today", "heute" }, { "now", "jetzt" }, { "often", "oft" },
  { "tomorrow", "morgen" } }

-- Articles and endings of adjectives by case, gender ("p": several).
local DEFINITE = { nom = { m = "der", f = "die", n = "das", p = "die" },
  acc = { m = "den", f = "die", n = "das", p = "die" } }
local AFTER_DEFINITE = { nom = { m = "e", f = "e", n = "e", p = "en" },
  acc = { m = "en", f = "e", n = "e", p = "en" } }
local INDEFINITE = { nom = { m = "ein", f = "eine", n = "ein" },
  acc = { m = "einen", f = "eine", n = "ein" } }
local AFTER_INDEFINITE = { nom = { m = "er", f = "e", n = "es", p = "e" },
  acc = { m = "en", f = "e", n = "es", p = "e" } }

-- A noun with its article and perhaps an adjective, in both languages; whether it is several.
local function phrase(draw, case)
  local noun, many = draw:pick(NOUNS), draw:below(3) == 1
  local definite = draw:below(2) == 1
  local adjective = draw:below(2) == 1 and draw:pick(ADJECTIVES)
  local gender = many and "p" or noun[5]
  local en, de = {}, {}
  if definite then
    en[1], de[1] = "the", DEFINITE[case][gender]
  elseif not many then
    local first = (adjective and adjective[1] or noun[1]):sub(1, 1)
    en[1], de[1] = first:find "[aeiou]" and "an" or "a", INDEFINITE[case][gender]
  end
  if adjective then
    en[#en + 1] = adjective[1]
    de[#de + 1] = adjective[2] .. (definite and AFTER_DEFINITE or AFTER_INDEFINITE)[case][gender]
  end
  en[#en + 1], de[#de + 1] = noun[many and 2 or 1], noun[many and 4 or 3]
  return table.concat(en, " "), table.concat(de, " "), many
end

local function sentence(draw)
  local subject_en, subject_de, many = phrase(draw, "nom")
  local object_en, object_de = phrase(draw, "acc")
  local verb, k = draw:pick(VERBS), many and 2 or 1
  local modal = draw:below(3) == 1 and draw:pick(MODALS)
  local time = draw:below(3) == 1 and draw:pick(TIMES)
  local en = subject_en .. " " .. (modal and modal[k] .. " " .. verb[2] or verb[k]) .. " "
    .. object_en
  -- the finite verb stands second, an infinitive last
  local finite = (modal or verb)[k + 2]
  local rest = object_de .. (modal and " " .. verb[4] or "")
  if time then
    return time[1] .. " " .. en .. " .",
      ("%s %s %s %s ."):format(time[2], finite, subject_de, rest)
  end
  return en .. " .", subject_de .. " " .. finite .. " " .. rest .. " ."
end

local translation_args = check.args("translation", {
  { "n_samples", "int", 1000, "pairs", min = 1 }, SEED })

--- Pairs of English and German sentences of a small grammar: articles and adjectives agree in
--- gender, number and case, the finite verb stands second, infinitives stand last. Words and points
--- are separated by blanks.
---
---     local english, german = tide.datasets.translation { 3, seed = 1 }
---     #english   --> 3
--- @return table source English sentences
--- @return table target German ones
function language.translation(...)
  local o = translation_args:construct(...)
  local draw = draws(o.seed)
  local source, target = {}, {}
  for i = 1, o.n_samples do
    source[i], target[i] = sentence(draw)
  end
  return source, target
end

return language
