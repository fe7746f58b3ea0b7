import t from 'tap'
import { imagesOf } from '../../src/builder/dockerfile.ts'

const table: Record<string, { text: string; args?: Record<string, string>; images: string[] }> = {
  'one image': { text: 'FROM tomcat:10\n', images: ['tomcat:10'] },
  'stages, numbers and scratch are no images': {
    text: 'FROM maven AS build\nFROM build AS more\nFROM scratch\nCOPY --from=build /a /a\nCOPY --from=0 /b /b\n',
    images: ['maven'],
  },
  'COPY from an image, and flags before it': {
    text: 'from --platform=linux/amd64 base@sha256:1\ncopy --chown=1 --from=tools:2 /a /a\n',
    images: ['base@sha256:1', 'tools:2'],
  },
  'arguments before the first stage, with defaults': {
    text: 'ARG REGISTRY="r.test:5000" NAME=tomcat\nARG TAG\nARG FULL=$REGISTRY/${NAME}\nFROM ${FULL}:${TAG:-10}${TAG:+x}\n',
    images: ['r.test:5000/tomcat:10'],
  },
  'build arguments win, but only over what is declared': {
    text: 'ARG TAG=9\nFROM base:${TAG}${OTHER}\n',
    args: { TAG: '10', OTHER: 'x' },
    images: ['base:10'],
  },
  'an argument of a stage is none of FROM': {
    text: 'FROM a\nARG B=b\nFROM x${B}\n',
    images: ['a', 'x'],
  },
  'comments, continued lines and another escape character': {
    text: '# escape=`\n# FROM old\nFROM `\n  # said in between\n  base:1 `\n  AS it\n',
    images: ['base:1'],
  },
  'nothing that can be told': { text: 'FROM ${UNKNOWN}\n', images: [] },
}
for (const [what, { text, args = {}, images }] of Object.entries(table)) {
  t.test(what, async (t) => t.strictSame(imagesOf(text, args), images))
}
