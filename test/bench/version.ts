/** Owns the one version that is sent and answered throughout the bench, in the order in which the gateway serialises it. */
export const version = {
  id: '01JD0W5M3Q8R2T6V9X1Z4B7D0F',
  name: '1.4.0',
  description: 'Refunds carry their tax lines, and orders are fetched page by page',
  isLatest: true,
  isDefault: false,
  createdAt: '2026-10-19T08:30:00.120Z',
  updatedAt: '2026-10-21T16:45:31.900Z',
  publishedAt: '2026-10-21T16:45:31.900Z',
}
