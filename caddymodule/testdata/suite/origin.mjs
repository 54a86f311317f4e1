// The suite's origin on a free port of the loopback interface; its own server
// listens on every interface. Prints its address and ends with its input.
import http from 'node:http'

import handleConfig from 'http-cache-tests/server/handle-config.mjs'
import handleState from 'http-cache-tests/server/handle-state.mjs'
import handleTest from 'http-cache-tests/server/handle-test.mjs'

// Scripts are answered when the request is there as a whole: Caddy's access log
// counts its bytes while net/http may still be sending them.
const whole = handle => (rest, request, response) => {
  request.resume().on('end', () => handle(rest, request, response))
}

// Some scripts declare a Content-Length that is less than the body. What is left
// over must not meet the next request on the connection, which is another test's.
const alone = handle => (rest, request, response) => {
  const end = response.end.bind(response)
  response.end = (body = '') => {
    if (Number(response.getHeader('Content-Length')) < Buffer.byteLength(body)) response.setHeader('Connection', 'close')
    return end(body)
  }
  handle(rest, request, response)
}

const handlers = { config: handleConfig, state: handleState, test: alone(whole(handleTest)) }

const server = http.createServer((request, response) => {
  const [, kind, ...rest] = new URL(request.url, 'http://origin').pathname.split('/')
  if (kind in handlers) return handlers[kind](rest, request, response)
  response.writeHead(404).end()
})

server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`127.0.0.1:${server.address().port}\n`)
  console.log = () => {} // the handlers' warnings: nobody reads on
})
process.stdin.resume().on('end', () => process.exit())
