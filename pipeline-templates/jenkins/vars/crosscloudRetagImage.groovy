// Generated from src/steps/retag-image.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('retag-image', [
        image: 'CROSSCLOUD_IMAGE',
        to: 'CROSSCLOUD_TO',
        overwrite: 'CROSSCLOUD_OVERWRITE',
    ], inputs)
}
