export function openapi(): object {
  return {}
}
