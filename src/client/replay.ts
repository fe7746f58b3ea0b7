import type { Line } from '../api/events.ts'
import type { Log } from '../core/log.ts'

/** Writes the log of a run into a log here, as if it ran here. */
export interface Replay {
  line(line: Line): Promise<void>
  /** Closes what is open: the stream ended in the middle. */
  end(failed: boolean): Promise<void>
}

interface OpenSection {
  close(failed: boolean): void
  closed: Promise<void>
}

export function replayInto(log: Log): Replay {
  const open: OpenSection[] = []
  const close = async (failed: boolean) => {
    const section = open.pop()
    section?.close(failed)
    await section?.closed
  }
  return {
    async line({ level, text, section, failed = false }) {
      if (section === 'start') open.push(openSection(log, text))
      else if (section === 'end') await close(failed)
      else log[level](text)
    },
    async end(failed) {
      while (open.length > 0) await close(failed)
    },
  }
}

/** A section of our log lasts as long as its work: here until the run's own is closed. */
function openSection(log: Log, title: string): OpenSection {
  let close: OpenSection['close'] = () => {}
  const work = new Promise<void>((resolve, reject) => {
    close = (failed) => (failed ? reject(new Error('failed')) : resolve())
  })
  const closed = log.section(title, () => work).catch(() => {})
  return { close: (failed) => close(failed), closed }
}
