/** Owns reading V8's CPU profiles: which function took how much of the time that was not idle. Pure. */

export interface Frame {
  functionName: string
  url: string
  /** From 0. */
  lineNumber: number
}

export interface Profile {
  nodes: { id: number; callFrame: Frame; children?: number[] }[]
  samples: number[]
  /** Microseconds before each sample. */
  timeDeltas: number[]
}

/** The frames of each sample, the innermost first, and how long it stands for; idle time is left out. */
function* stacks({ nodes, samples, timeDeltas }: Profile): Generator<{ frames: Frame[]; us: number }> {
  const byId = new Map(nodes.map(node => [node.id, node.callFrame]))
  const parents = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map(child => [child, id] as const)),
  )
  for (const [i, id] of samples.entries()) {
    const frames: Frame[] = []
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      frames.push(byId.get(at) as Frame)
    }
    if (frames[0]?.functionName !== '(idle)') yield { frames, us: timeDeltas[i] ?? 0 }
  }
}

/** Milliseconds in which any function that matches was running or waiting for one that it had called. */
export function totalMs(profile: Profile, matches: (frame: Frame) => boolean): number {
  let us = 0
  for (const stack of stacks(profile)) if (stack.frames.some(matches)) us += stack.us
  return us / 1000
}

/** The longest time in milliseconds for which a function ran without a sample of anything else; 0 where it never ran. */
export function longestMs({ nodes, samples, timeDeltas }: Profile, functionName: string): number {
  const ids = new Set(
    nodes.filter(({ callFrame }) => callFrame.functionName === functionName).map(({ id }) => id),
  )
  let longest = 0
  let current = 0
  for (const [i, id] of samples.entries()) {
    current = ids.has(id) ? current + (timeDeltas[i] ?? 0) : 0
    longest = Math.max(longest, current)
  }
  return longest / 1000
}

/** Self and total time by function, largest self time first, as shares of all of it; and all of it. */
export function functionsOf(profile: Profile): {
  busyMs: number
  functions: { name: string; self: number; total: number }[]
} {
  const found = new Map<string, { self: number; total: number }>()
  const add = (name: string, key: 'self' | 'total', us: number) => {
    const entry = found.get(name) ?? { self: 0, total: 0 }
    entry[key] += us
    found.set(name, entry)
  }
  let busy = 0
  for (const { frames, us } of stacks(profile)) {
    busy += us
    const names = frames.map(nameOf)
    add(names[0] as string, 'self', us)
    for (const name of new Set(names)) add(name, 'total', us)
  }
  const functions = [...found]
    .map(([name, { self, total }]) => ({ name, self: self / busy, total: total / busy }))
    .sort((a, b) => b.self - a.self)
  return { busyMs: busy / 1000, functions }
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  const where = url === '' ? '' : ` ${url.split('/').at(-1)}:${lineNumber + 1}`
  return (functionName || '(anonymous)') + where
}
