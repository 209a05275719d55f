/**
 * Owns the platform of the bench: a process that answers every request with one canned version, for as little as a socket
 * costs. Takes 200 ms for organisations whose id starts with SLOW. Never looks at what it is sent but for its length.
 */
import { createServer, type Socket } from 'node:net'
import { version } from './version.ts'

export const slowMs = 200

const body = JSON.stringify(version)
const answer = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
)

/** How many bytes of `text` the first whole request takes; 0 where it is not whole. */
function requestLength(text: string): number {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return 0
  const head = text.slice(0, end)
  const start = end + 4
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length !== undefined) return text.length >= start + Number(length) ? start + Number(length) : 0
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) return start
  const last = text.indexOf('0\r\n\r\n', start)
  return last < 0 ? 0 : last + 5
}

function serve(socket: Socket): void {
  let held = ''
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('data', chunk => {
    held += chunk.toString('latin1')
    for (let length = requestLength(held); length > 0; length = requestLength(held)) {
      const slow = held.slice(0, held.indexOf('\r\n')).includes('/o/SLOW')
      held = held.slice(length)
      if (slow) setTimeout(() => socket.write(answer), slowMs)
      else socket.write(answer)
    }
  })
}

if (import.meta.main) {
  const server = createServer(serve)
  server.listen(0, '127.0.0.1', () => process.send?.(server.address()))
  process.on('disconnect', () => process.exit())
}
