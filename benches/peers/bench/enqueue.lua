-- What wrk sends: a task of 100 bytes of payload. The server gives it an id.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"type":"nothing","payload":{"p":"' .. string.rep("x", 92) .. '"}}'
