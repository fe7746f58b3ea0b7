// Generated from src/steps/push-image.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudPushImage',
        name: 'push-image',
        inputs: ['imageFolder', 'to', 'env', 'tag', 'overwrite', 'record', 'reason'],
        attempts: 3
    )
}
