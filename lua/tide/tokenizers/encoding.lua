--- What a tokenizer makes of a text: one value per token, as lists that are made when they are
--- asked for.
---
---     local e = tide.tokenizers.WordLevel({ vocab = { "a", "b" } }):encode "b a"
---     e.offsets   --> { { 1, 1 }, { 3, 3 } }
local class = require "tide.class"
local core = require "tide.core"
local list = require "tide.list"

local text = core.text
local M = {}

local Encoding = class.strict(class.new "Encoding")
M.Encoding = Encoding

--- Fields: ids; tokens (strings); offsets, { first, last } bytes of the text, so that
--- `text:sub(first, last)` is what a token stands for ({ 0, 0 } for tokens that were added);
--- type_ids (0 and 1: of the first and the second text); word_ids (the word of the text, from 1;
--- false for tokens that were added); sequence_ids (1, 2 or false); attention_mask (0: padding);
--- special_tokens_mask; overflowing (encodings of what truncation left over). `#e` is the number of
--- tokens.
--- @param tokenizer table
--- @param raw userdata of core.text.encode
--- @param part integer|nil
function Encoding:_init(tokenizer, raw, part)
  rawset(self, "_tokenizer", tokenizer)
  rawset(self, "_raw", raw)
  rawset(self, "_part", part or 1)
end

function Encoding:__len()
  return text.lengths(self._raw)[self._part] or 0
end

function Encoding:__tostring()
  return ("Encoding: %d tokens"):format(#self)
end

local function field(name)
  return function(self)
    local v = list.new(text.field(self._raw, name, self._part, self._tokenizer._base))
    rawset(self, name, v)
    return v
  end
end

local get = {}
for name in ([[ids type_ids word_ids sequence_ids attention_mask special_tokens_mask
  offsets]]):gmatch "%S+" do
  get[name] = field(name)
end

function get:tokens()
  local out, tokenizer = {}, self._tokenizer
  for i, id in ipairs(text.field(self._raw, "ids", self._part, 0)) do
    out[i] = tokenizer:_token(id) or ""
  end
  rawset(self, "tokens", list.new(out))
  return self.tokens
end

function get:overflowing()
  local out = {}
  for part = 2, self._part == 1 and #text.lengths(self._raw) or 1 do
    out[part - 1] = Encoding(self._tokenizer, self._raw, part)
  end
  rawset(self, "overflowing", list.new(out))
  return self.overflowing
end

class.properties(Encoding, get)

return M
