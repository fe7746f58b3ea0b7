// Generated from src/steps/record-release.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudRecordRelease',
        name: 'record-release',
        inputs: ['image', 'env', 'reason'],
        attempts: 3
    )
}
