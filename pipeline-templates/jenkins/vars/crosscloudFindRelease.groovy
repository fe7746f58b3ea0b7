// Written by hand; crosscloudFindRelease.txt is its help.

/**
 * The newest release that was built from a commit; by default from the one that is checked out.
 * A build that was restarted from a stage has forgotten its variables; the ledger has not.
 */
String call(Object... given) {
    Map inputs = crosscloud.named('crosscloudFindRelease', ['commit', 'settings'], given)
    String commit = inputs.remove('commit') ?: 'HEAD'
    Map answer = crosscloud.perform(['releases', '--commit', commit, '--limit', '1'], inputs)
    if (!answer.releases) {
        error("no release was built from commit ${commit}: run the build from its first stage")
    }
    return answer.releases[0].release
}
