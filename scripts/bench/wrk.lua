-- Builds the request that the arguments describe (method, path, body, its type, pipeline depth) and reports as JSON.
local pipelined

function init(args)
  wrk.method = args[1]
  wrk.path = args[2]
  if #args[3] > 0 then
    wrk.body = args[3]
    wrk.headers["Content-Type"] = args[4]
  end
  local depth = tonumber(args[5])
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
