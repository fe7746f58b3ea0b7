/**
 * What Jenkins puts in the place of Java's iterators, which cannot be written out: a loop over a list
 * or a map may then hold steps.
 */
class Iterators {
    static Iterator iterator(List list) { new Position(items: list.toArray()) }
    static Iterator iterator(Map map) { new Position(items: copies(map).toArray()) }
    static Collection entrySet(Map map) { copies(map) }

    private static List copies(Map map) {
        List entries = []
        map.each { key, value -> entries.add(new AbstractMap.SimpleImmutableEntry(key, value)) }
        return entries
    }

    static class Position implements Iterator, Serializable {
        Object[] items
        int at
        boolean hasNext() { at < items.length }
        Object next() { items[at++] }
        void remove() { throw new UnsupportedOperationException() }
    }
}
