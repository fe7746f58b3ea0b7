// Generated from src/steps/push-image.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('push-image', [
        imageFolder: 'CROSSCLOUD_IMAGE_FOLDER',
        to: 'CROSSCLOUD_TO',
        env: 'CROSSCLOUD_ENV',
        tag: 'CROSSCLOUD_TAG',
        overwrite: 'CROSSCLOUD_OVERWRITE',
        record: 'CROSSCLOUD_RECORD',
        reason: 'CROSSCLOUD_REASON',
    ], inputs)
}
