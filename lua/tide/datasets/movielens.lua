--- Ratings of films: movielens, 100k and 1m, from GroupLens' archives, packed or unpacked.
local check = require "tide.check"
local core = require "tide.core"
local ends = require "tide.ends"
local errors = require "tide.errors"
local files = require "tide.datasets.files"

local SITE = "https://files.grouplens.org/datasets/movielens/"
local TEXT = 256 << 20

local function words(text)
  local out = {}
  for word in text:gmatch "[^|]+" do
    out[#out + 1] = word
  end
  return out
end

-- Of each version: the archive, and file, separator and columns of each table; `i` whole numbers,
-- `s` texts, `g` the 19 flags of genres, `l` genres as a list.
local VERSIONS = {
  ["100k"] = { folder = "ml-100k", archive = { "ml-100k.zip", bytes = 4924029,
    url = SITE .. "ml-100k.zip", md5 = "0e33842e24a9c977be4e0107933c0723" },
    ratings = { "u.data", "\t", { "user", "i" }, { "movie", "i" }, { "rating", "i" },
      { "timestamp", "i" } },
    users = { "u.user", "|", { "user", "i" }, { "age", "i" }, { "gender", "s" },
      { "occupation", "s" }, { "zip_code", "s" } },
    movies = { "u.item", "|", { "movie", "i" }, { "title", "s" }, { "released", "s" },
      { "video_released", "s" }, { "url", "s" }, { "genres", "g" } } },
  ["1m"] = { folder = "ml-1m", archive = { "ml-1m.zip", bytes = 5917549, url = SITE .. "ml-1m.zip",
    md5 = "c4d9eecfca2ab87c1945afe126590906" },
    ratings = { "ratings.dat", "::", { "user", "i" }, { "movie", "i" }, { "rating", "i" },
      { "timestamp", "i" } },
    users = { "users.dat", "::", { "user", "i" }, { "gender", "s" }, { "age", "i" },
      { "occupation", "i" }, { "zip_code", "s" } },
    movies = { "movies.dat", "::", { "movie", "i" }, { "title", "s" }, { "genres", "l" } } },
}

local GENRES = words "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|\z
Drama|Fantasy|Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"

-- Latin-1 as UTF-8.
local function utf8_of(text)
  if not text:find "[\x80-\xff]" then
    return text
  end
  return (text:gsub("[\x80-\xff]", function(c)
    return utf8.char(c:byte())
  end))
end

-- A function that gives the text of a file and where it stands.
local function open(v, o)
  local rows = { { v.folder .. "/" .. v.ratings[1] }, { v.ratings[1] }, v.archive }
  local path = files.find { name = "movielens", folder = o.folder, verify = o.verify, files = rows,
    needs = v.archive[1], url = v.archive.url }
  if path:find "%.zip$" then
    local archive, members = core.zip_open(path)
    return function(name)
      for _, m in ipairs(members) do
        if ends.behind(m.name, "/") == name then
          return core.zip_read(archive, m.name, TEXT), path .. ": " .. name
        end
      end
      errors.raise("movielens", "%s has no member %s", path, name)
    end
  end
  local folder = path:match "^(.*/)" or ""
  return function(name)
    return core.read_file(folder .. name, TEXT), folder .. name
  end
end

local function field_wrong(path, line, name, got)
  errors.raise("movielens", "%s: line %d: %s is no whole number (got %s)", path, line, name,
    check.show(got))
end

-- The table in a text.
local function parse(text, path, plan)
  local separator, fields, at_genres = plan[2], {}, nil
  for i = 3, #plan do
    fields[#fields + 1] = plan[i]
    at_genres = plan[i][2] == "g" and #fields or at_genres
  end
  local out = {}
  for _, f in ipairs(fields) do
    out[f[1]] = {}
  end
  local width = at_genres and #fields - 1 + #GENRES or #fields
  local line = 0
  for row in text:gmatch "[^\n]+" do
    line = line + 1
    row = row:gsub("\r$", "")
    local parts, at = {}, 1
    while at do
      local stop, after = row:find(separator, at, true)
      parts[#parts + 1] = row:sub(at, stop and stop - 1)
      at = stop and after + 1
    end
    if #parts ~= width then
      errors.raise("movielens", "%s: line %d: the row has %d fields (expected %d)", path, line,
        #parts, width)
    end
    for k, f in ipairs(fields) do
      local kind, v = f[2], parts[k]
      if kind == "i" then
        v = math.tointeger(tonumber(v)) or field_wrong(path, line, f[1], v)
      elseif kind == "s" then
        v = utf8_of(v)
      elseif kind == "l" then
        v = words(v)
      else
        local genres = {}
        for g = 1, #GENRES do
          genres[#genres + 1] = parts[k + g - 1] == "1" and GENRES[g] or nil
        end
        v = genres
      end
      out[f[1]][line] = v
    end
  end
  return out, line
end

-- Columns as a table; genres as one text, joined by "|".
local function table_of(text, path, plan)
  local columns, n = parse(text, path, plan)
  local names = {}
  for i = 3, #plan do
    local name, kind = plan[i][1], plan[i][2]
    names[#names + 1] = name
    for k = 1, (kind == "g" or kind == "l") and n or 0 do
      columns[name][k] = table.concat(columns[name][k], "|")
    end
  end
  return require("tide.data.table")(columns, { columns = names })
end

local args = check.args("movielens", {
  { "version", "enum", "100k", "how many ratings", of = "100k|1m" }, files.FOLDER,
}, { named = { files.VERIFY } })

--- MovieLens (Harper and Konstan 2015): 100,000 ratings of 1,682 films by 943 people, or a million
--- of 3,883 by 6,040, from ml-100k.zip or ml-1m.zip, packed or unpacked, as tables: ratings (user,
--- movie, rating 1 to 5, timestamp in seconds), users (user, age, gender, occupation, zip_code) and
--- movies (movie, title, genres joined by "|", ...). Users and movies count from 1, as in the
--- files.
---
---     local ratings, users, movies = tide.datasets.movielens { "100k", "folder" }
---     local ds = ratings:to_dataset { target = "rating", features = { "user", "movie" } }
--- @return Table ratings
--- @return Table users
--- @return Table movies
local function movielens(...)
  local o = args:construct(...)
  local v = VERSIONS[o.version]
  local read = open(v, o)
  local out = {}
  for i, name in ipairs { "ratings", "users", "movies" } do
    local text, path = read(v[name][1])
    out[i] = table_of(text, path, v[name])
  end
  return out[1], out[2], out[3]
end

return { movielens = files.callable("movielens", movielens) }
