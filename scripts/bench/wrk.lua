-- Builds the request that the arguments describe (method, path, body, its type, pipeline depth, "close") and reports as
-- JSON.
local pipelined

function init(args)
  wrk.method = args[1]
  wrk.path = args[2]
  if #args[3] > 0 then
    wrk.body = args[3]
    wrk.headers["Content-Type"] = args[4]
  end
  if args[6] == "close" then wrk.headers["Connection"] = "close" end
  local depth = tonumber(args[5])
  if depth > 1 then
    pipelined = string.rep(wrk.format(), depth)
    request = function() return pipelined end
  end
end

function done(summary, latency)
  local errors = summary.errors
  local count = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format(
    '{"requests":%d,"seconds":%.6f,"errors":%d,"p50Millis":%.3f,"p99Millis":%.3f}',
    summary.requests, summary.duration / 1e6, count, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
