// Plays the suite against the cache at the URL given, and prints what tests
// there are and what became of each. Verdicts are not made here.
//
// Left out, as in the suite's own index: Surrogate-Control, which the suite
// has since replaced by CDN-Cache-Control (RFC 9213).
import fetch from 'node-fetch'

import * as config from 'http-cache-tests/client/config.mjs'
import { makeCacheTest, testResults } from 'http-cache-tests/client/test.mjs'
import suites from 'http-cache-tests/tests/index.mjs'

// How many tests go at once: the suite's own hundred take a small machine too
// long to answer in time.
const atOnce = 50
// The scripts wait three seconds for an answer to become stale, or not. A test
// that took much longer than its pauses says nothing, and is played again.
const pause = 3000
const late = 1500
const attempts = 4

config.setFetch(fetch)
config.setBaseUrl(process.argv[2])
config.setUseBrowserCache(false)

async function play (test) {
  const pauses = test.requests.filter(request => 'pause_after' in request).length
  for (let attempt = 1; ; attempt++) {
    const began = Date.now()
    await makeCacheTest(structuredClone(test)) // playing changes the script
    if (Date.now() - began < pauses * pause + late || attempt === attempts) return
    delete testResults[test.id]
  }
}

const playable = suites.flatMap(suite => suite.tests).filter(test => test.browser_only !== true)
for (let n = 0; n < playable.length; n += atOnce) {
  await Promise.all(playable.slice(n, n + atOnce).map(play))
}

const tests = suites.flatMap(suite => suite.tests.map(test => ({
  group: suite.id,
  id: test.id,
  kind: test.kind ?? 'required',
  depends_on: test.depends_on ?? [],
  browser_only: test.browser_only === true,
  result: testResults[test.id] === true ? 'pass' : testResults[test.id]?.[0],
  message: testResults[test.id]?.[1]
})))
process.stdout.write(JSON.stringify(tests))
