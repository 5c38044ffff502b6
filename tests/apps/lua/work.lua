-- Works and prints what came out; the same on every run.
local function primes(limit)
  return coroutine.wrap(function()
    for n = 2, limit do
      local prime = true
      for d = 2, math.floor(math.sqrt(n)) do
        if n % d == 0 then prime = false break end
      end
      if prime then coroutine.yield(n) end
    end
  end)
end

local count, sum = 0, 0
for prime in primes(20000) do count, sum = count + 1, sum + prime end
print("primes", count, sum)

local words = {}
for word in io.stdin:read("a"):gmatch("%a+") do words[word] = (words[word] or 0) + 1 end
local names = {}
for word in pairs(words) do names[#names + 1] = word end
table.sort(names)
for _, word in ipairs(names) do io.write(word, "=", words[word], " ") end
print()

local path = os.tmpname()
local file = assert(io.open(path, "w"))
for n = 1, 2000 do file:write(string.format("%05d\n", n)) end
file:close()
local lines = 0
for _ in io.lines(path) do lines = lines + 1 end
assert(os.remove(path))
print("lines", lines, select(3, io.open(path)))

local live = {}
for n = 1, 200000 do live[n % 500 + 1] = { n, tostring(n) } end
collectgarbage()
print("live", #live, collectgarbage("count") < 2000)
print("error", select(2, pcall(error, { code = 42 })).code)
