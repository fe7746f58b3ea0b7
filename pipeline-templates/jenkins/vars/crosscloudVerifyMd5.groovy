// Generated from src/steps/verify-md5.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudVerifyMd5',
        name: 'verify-md5',
        inputs: ['env', 'release'],
        attempts: 3
    )
}
