/**
 * Runs before every test file: properties are tried with the same values each time, so that what is green stays green.
 * To look further: FC_SEED=$RANDOM npm test.
 */
import fc from 'fast-check'

fc.configureGlobal({ seed: Number(process.env.FC_SEED ?? 20261124) })
