--- Layered drawing of a directed graph without cycles (Sugiyama, Tagawa, Toda 1981): every edge
--- leads from a layer to a later one; edges over several layers pass through points of their own;
--- few edges cross.
local layers = {}

-- Layer of each node: one after the latest of those before it.
local function ranks(count, before)
  local rank = {}
  for i = 1, count do -- nodes are numbered in order of execution
    rank[i] = 1
    for _, b in ipairs(before[i]) do
      rank[i] = math.max(rank[i], rank[b] + 1)
    end
  end
  return rank
end

-- Splits edges at the layers that they pass: adds points to `rank`, returns edges between
-- neighbouring layers and the chains.
local function split(edges, rank)
  local short, chains = {}, {}
  for k, e in ipairs(edges) do
    local chain, at = { e[1] }, e[1]
    for r = rank[e[1]] + 1, rank[e[2]] - 1 do
      rank[#rank + 1] = r
      chain[#chain + 1] = #rank
      short[#short + 1] = { at, #rank }
      at = #rank
    end
    short[#short + 1] = { at, e[2] }
    chain[#chain + 1] = e[2]
    chains[k] = chain
  end
  return short, chains
end

local function mean(list, of)
  if #list == 0 then
    return nil
  end
  local sum = 0
  for _, v in ipairs(list) do
    sum = sum + of[v]
  end
  return sum / #list
end

-- Orders each layer by the mean place of its neighbours, downwards and upwards in turn.
local function arrange(rows, up, down, count)
  local place = {}
  local function number(row)
    for i, v in ipairs(row) do
      place[v] = i
    end
  end
  for _, row in ipairs(rows) do
    number(row)
  end
  for sweep = 1, count do
    local forward = sweep % 2 == 1
    for k = forward and 2 or #rows - 1, forward and #rows or 1, forward and 1 or -1 do
      local row, key = rows[k], {}
      for _, v in ipairs(row) do
        key[v] = mean((forward and up or down)[v], place) or place[v]
      end
      local before = {}
      for i, v in ipairs(row) do
        before[v] = i
      end
      table.sort(row, function(a, b)
        return key[a] < key[b] or (key[a] == key[b] and before[a] < before[b])
      end)
      number(row)
    end
  end
end

-- Middles of the nodes: near the middle of their neighbours, never closer than their widths allow.
local function positions(rows, up, down, width, gap, sweeps)
  local x = {}
  for _, row in ipairs(rows) do
    local at = 0
    for _, v in ipairs(row) do
      x[v] = at + width[v] / 2
      at = at + width[v] + gap
    end
  end
  local function settle(row, wish)
    local n, low, high = #row, {}, {}
    for i, v in ipairs(row) do -- as far left as the wishes to the left allow, and as far right
      low[i] = i == 1 and wish[v]
        or math.max(wish[v], low[i - 1] + (width[row[i - 1]] + width[v]) / 2 + gap)
    end
    for i = n, 1, -1 do
      local v = row[i]
      high[i] = i == n and wish[v]
        or math.min(wish[v], high[i + 1] - (width[row[i + 1]] + width[v]) / 2 - gap)
    end
    for i, v in ipairs(row) do
      x[v] = (low[i] + high[i]) / 2
    end
  end
  for sweep = 1, sweeps do
    local forward = sweep % 2 == 1
    for k = forward and 1 or #rows, forward and #rows or 1, forward and 1 or -1 do
      local wish = {}
      for _, v in ipairs(rows[k]) do
        wish[v] = mean((forward and up or down)[v], x) or mean((forward and down or up)[v], x)
          or x[v]
      end
      settle(rows[k], wish)
    end
  end
  local least = math.huge
  for _, row in ipairs(rows) do
    for _, v in ipairs(row) do
      least = math.min(least, x[v] - width[v] / 2)
    end
  end
  local most = 0
  for v in pairs(x) do
    x[v] = x[v] - least
    most = math.max(most, x[v] + width[v] / 2)
  end
  return x, most
end

--- @param widths table width of each node; nodes are numbered in an order in which edges lead
---   forwards
--- @param edges table list of { from, to }
--- @param gap number least distance of nodes of a layer
--- @return table rank layer of each node and point, table x their middles, table chains the nodes
---   and points of each edge,
--- integer number of layers, number whole width
function layers.layout(widths, edges, gap)
  local before = {}
  for i = 1, #widths do
    before[i] = {}
  end
  for _, e in ipairs(edges) do
    table.insert(before[e[2]], e[1])
  end
  local rank = ranks(#widths, before)
  local short, chains = split(edges, rank)
  local up, down, rows, width = {}, {}, {}, {}
  for v = 1, #rank do
    up[v], down[v], width[v] = {}, {}, widths[v] or gap
    rows[rank[v]] = rows[rank[v]] or {}
    table.insert(rows[rank[v]], v)
  end
  for _, e in ipairs(short) do
    table.insert(down[e[1]], e[2])
    table.insert(up[e[2]], e[1])
  end
  arrange(rows, up, down, 8)
  local x, most = positions(rows, up, down, width, gap, 12)
  return rank, x, chains, #rows, most
end

return layers
