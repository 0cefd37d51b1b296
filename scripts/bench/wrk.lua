-- Builds the request that the arguments describe (method, path, body bytes, pipeline depth) and reports as JSON.
-- The body is what `requestBody` in scenarios.mjs makes.
local pipelined

function init(args)
  wrk.method = args[1]
  wrk.path = args[2]
  local size = tonumber(args[3])
  if size > 0 then
    wrk.body = string.rep("0123456789abcdef", size / 16)
    wrk.headers["Content-Type"] = "application/octet-stream"
  end
  local depth = tonumber(args[4])
  if depth > 1 then
    pipelined = string.rep(wrk.format(), depth)
    request = function() return pipelined end
  end
end

function done(summary)
  local errors = summary.errors
  local count = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format('{"requests":%d,"seconds":%.6f,"errors":%d}', summary.requests, summary.duration / 1e6, count))
end
