/** Owns the README's tables: prints them from the file that `npm run bench -- --json FILE` wrote. */
import { readFileSync } from 'node:fs'
import type { Results } from './goals.ts'
import { factsLine, goalsTable, growthTable, machineLine, ratesTable } from './report.ts'

const [file] = process.argv.slice(2)
if (file === undefined) throw new Error('usage: node test/bench/table.ts FILE')
const results = JSON.parse(readFileSync(file, 'utf8')) as Results
console.log(
  [
    machineLine(results),
    goalsTable(results),
    ratesTable(results),
    growthTable(results),
    factsLine(results),
  ].join('\n\n'),
)
