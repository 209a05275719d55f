/** Owns finding and starting Chromium, the system's own: nothing is downloaded. Never shows a window. */
import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** The program, or undefined where there is none; CHROMIUM_PATH names another. */
export function chromiumPath(): string | undefined {
  const { CHROMIUM_PATH } = process.env
  return (CHROMIUM_PATH ? [CHROMIUM_PATH] : places).find(path => existsSync(path))
}

export async function launchChromium(): Promise<Browser> {
  const executablePath = chromiumPath()
  if (!executablePath) {
    throw new Error('There is no Chromium: apt-get install chromium, or set CHROMIUM_PATH to its program.')
  }
  // Chromium refuses to run as root inside a sandbox.
  const chromiumSandbox = process.getuid?.() !== 0
  return chromium.launch({ executablePath, chromiumSandbox })
}
