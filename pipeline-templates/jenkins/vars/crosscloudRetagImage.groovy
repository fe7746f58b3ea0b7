// Generated from src/steps/retag-image.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudRetagImage',
        name: 'retag-image',
        inputs: ['image', 'to', 'overwrite'],
        attempts: 3
    )
}
