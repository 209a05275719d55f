/** Owns the types of the part of autocannon that is used; it ships none. */
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events'

  export interface Request {
    method: string
    path: string
    headers: Record<string, string>
    body?: string
  }
  export interface Client {
    setRequest(request: Request): void
    setRequests(requests: Request[]): void
    /** How many requests were sent. */
    readonly reqsMade: number
    /** With so many sent, the client ends at its next answer. */
    responseMax?: number
  }
  export interface Options {
    url: string
    connections: number
    /** Seconds. */
    duration: number
    /** Milliseconds between samples, at which alone the end is noticed. */
    sampleInt: number
    expectBody?: string
    setupClient?: (client: Client) => void
  }
  export interface Result {
    errors: number
    timeouts: number
    mismatches: number
  }
  export interface Instance extends EventEmitter {
    stop(): void
  }
  export default function autocannon(
    options: Options,
    done: (error: Error | null, result: Result) => void,
  ): Instance
}
