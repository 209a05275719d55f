/** Owns the word that `npm test` ends with: what it does not run. */
import { chromiumPath } from './chromium.ts'

/** Run before all tests; what it returns is run after them. */
export default function leftOut(): () => void {
  return () => {
    const found = chromiumPath()
    console.log(
      found
        ? `\nThe browser tests of the console are not part of this run: npm run test:browser (with ${found}).`
        : '\nThe browser tests of the console are LEFT OUT: there is no Chromium here. With one: npm run test:browser.',
    )
  }
}
