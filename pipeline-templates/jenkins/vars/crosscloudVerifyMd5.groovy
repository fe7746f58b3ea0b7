// Generated from src/steps/verify-md5.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('verify-md5', [
        env: 'CROSSCLOUD_ENV',
        release: 'CROSSCLOUD_RELEASE',
    ], inputs)
}
