// Generated from src/steps/release.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudRelease',
        name: 'release',
        inputs: ['env', 'version', 'reason', 'older', 'lockWait', 'deploy'],
        attempts: 1
    )
}
