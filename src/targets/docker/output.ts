/** Docker's stream format: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach */
export function unframe(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at + 8 <= bytes.length; ) {
    const end = at + 8 + bytes.readUInt32BE(at + 4)
    parts.push(bytes.subarray(at + 8, end))
    at = end
  }
  return Buffer.concat(parts)
}
